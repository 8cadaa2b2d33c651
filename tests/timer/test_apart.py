"""A DTimer and a Celery app on one Redis: neither has, sees or takes what is the other's, however they are spelled."""

import pytest
from rig.keyspace import snapshot
from rig.waiting import wait_until

from celery_dtimer import Answer, Counts, DTimer, NotForTasksError, get_timer

QUEUE = "default"


@pytest.fixture
def app(make_app, redis_url):
    """An app whose tasks are in the queue and in the namespace of a DTimer of all defaults."""
    return make_app(dtimer_url=redis_url, task_default_queue=QUEUE)


@pytest.fixture
def post_task(app):
    @app.task(name="add")
    def add(x, y):
        return x + y

    yield add.post
    tasks = get_timer(app)
    for task in tasks.upcoming():
        assert tasks.cancel(task.id)


def test_a_listener_of_all_defaults_takes_no_task(timer, post_task):
    taken = []
    timer.on_event(lambda delivery: (taken.append(delivery.id), timer.confirm(delivery)))
    timer.join()
    result = post_task((1, 2), delay=0, task_id="task")
    for number in range(5):
        timer.post(b"p", 0, id=str(number))
    wait_until(lambda: len(taken) == 5, "its own events")
    timer.leave()
    assert sorted(taken) == list("01234")
    assert result.peek().state == "pending"


@pytest.mark.parametrize("namespace", ["dt", "dt.tasks", "tasks", "0"])
@pytest.mark.parametrize("shards", [1, 3])
def test_the_same_id_in_both_is_two_events_in_every_operation(make_app, redis_url, redis_client, namespace, shards):
    settings = {"dtimer_namespace": namespace, "dtimer_shards": shards}
    app = make_app(dtimer_url=redis_url, task_default_queue=QUEUE, **settings)
    tasks = get_timer(app)

    @app.task(name="add")
    def add():
        pass

    with DTimer(redis_url, namespace, shards=shards) as timer:
        timer.post(b"p", 60, id="x")
        before = snapshot(redis_client)
        add.post(delay=30, task_id="x")
        assert {key: snapshot(redis_client)[key] for key in before} == before
        assert timer.count() == tasks.count() == Counts(1, 0, 0)
        assert [event.due_at for event in timer.upcoming()] > [task.due_at for task in tasks.upcoming()]
        assert tasks.change_delay("x", 90)
        assert timer.peek("x").payload == b"p"
        assert timer.cancel("x")
        assert timer.cancel("x") == Answer()
        assert tasks.peek("x").task == "add"
        assert tasks.cancel("x")
    redis_client.delete(f"{{{namespace}:0}}:shards", f"{{{namespace}:tasks:0}}:shards")


def test_what_can_only_be_meant_for_events_of_ones_own_is_refused_by_the_timer_of_an_app(app):
    timer = get_timer(app)
    for refused in (timer.join, lambda: timer.post(b"p", 1), lambda: timer.post_many([])):
        with pytest.raises(NotForTasksError, match=r"DTimer\(url\)"):
            refused()
    assert timer.count() == Counts(0, 0, 0)
