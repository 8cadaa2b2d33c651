"""A group under takeover: its members are stored in batches, and are those that Celery would have sent one by one."""

from types import SimpleNamespace

import pytest
from celery import Celery, chord, group
from celery.signals import before_task_publish
from rig.ports import free_port

from celery_dtimer import EventExistsError, NotReplicatedError
from celery_dtimer.posting import groups
from celery_dtimer.signals import event_posted

MEMBERS = 1200


@pytest.fixture
def app(make_app, redis_url):
    """An app whose delays of at least 10 s are the timer's."""
    return make_app(dtimer_url=redis_url, dtimer_takeover=10, result_backend="cache+memory://")


@pytest.fixture
def calls(redis_client):
    """Counts the calls of scripts so far."""
    return lambda: redis_client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]


def total(*numbers):
    return sum(numbers)


def ids(timer):
    return {event.id for event in timer.upcoming(limit=10_000)}


@pytest.mark.parametrize("apply", ["members", "group", "generator"])
def test_a_group_takes_a_round_trip_a_batch(add, timer, calls, apply):
    add.apply_async((1,), countdown=60)
    before, made = calls(), []

    def signatures():
        for number in range(MEMBERS):
            made.append(number)
            yield add.s(number) if apply == "group" else add.s(number).set(countdown=60)

    members = signatures() if apply == "generator" else list(signatures())
    result = group(members).apply_async(**({"countdown": 60} if apply == "group" else {}))
    assert calls() - before <= 20  # three batches, unless this machine is so slow that they wait for too long
    assert timer.count().pending == MEMBERS + 1
    assert len(result.results) == len(made) == MEMBERS
    assert ids(timer) > {member.id for member in result.results}
    assert all(member.parent is None for member in result.results[:3])


def test_the_members_are_those_of_a_group_whose_members_are_stored_one_by_one(add, stored, timer, monkeypatch, app):
    def shapes():
        made = group(add.s(1).set(countdown=60), add.s(2).set(countdown=90, queue="mail", priority=3))()
        for result in made.results:
            message = stored(app.AsyncResult(result.id))
            headers = {name: message.headers[name] for name in message.headers.keys() - {"id", "root_id", "group"}}
            assert message.headers["group"] == made.id
            yield result.peek().queue, message.body, headers, message.properties.get("priority")

    together = list(shapes())
    monkeypatch.setattr(groups, "BATCH", 1)
    assert list(shapes()) == together
    first, second = sorted(timer.upcoming(limit=2), key=lambda event: event.due_at)
    assert timer.count().pending == 4
    assert (second.due_at - first.due_at).total_seconds() < 30


def test_members_of_one_group_may_go_to_the_timer_and_to_the_broker(add, timer, published, app):
    result = group(add.s(1).set(countdown=60), add.s(2), add.s(3).set(countdown=5))()
    assert ids(timer) == {result.results[0].id}
    assert [published(app).headers["id"] for _ in range(2)] == [member.id for member in result.results[1:]]
    assert published(app) is None


def test_a_producer_that_has_published_to_the_broker_is_the_apps_own_still(add, timer, published, app):
    add.delay(0)
    result = group(add.s(1), add.s(2).set(countdown=60), add.s(3), add.s(4).set(countdown=60))()
    assert ids(timer) == {result.results[1].id, result.results[3].id}
    sent = [message.headers["id"] for message in iter(lambda: published(app), None)]
    assert sent[1:] == [result.results[0].id, result.results[2].id]


def test_a_chords_header_and_inner_groups_are_stored_in_batches_too(make_app, redis_url, redis_client, timer, calls):
    app = make_app(dtimer_url=redis_url, dtimer_takeover=10, result_backend=redis_url)
    add = app.task(name="add")(total)
    add.apply_async((1,), countdown=60)
    before = calls()
    body = chord([add.s(n).set(countdown=60) for n in range(300)])(add.s())
    group(group(add.s(n).set(countdown=60) for n in range(150)), *(add.s(n).set(countdown=60) for n in range(150)))()
    assert calls() - before <= 12
    assert timer.count().pending == 601
    assert body.parent is not None
    for key in redis_client.scan_iter(match="celery-task-*"):
        redis_client.delete(key)
    for key in redis_client.scan_iter(match="*chord*"):
        redis_client.delete(key)


def test_an_error_of_one_member_is_the_users_and_stores_none_of_its_batch(add, timer, app):
    def signatures():
        for number in range(3):
            yield add.s(number).set(countdown=60)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        group(signatures())()
    assert timer.count().pending == 0
    assert group(add.s(1).set(countdown=60), add.s(2).set(countdown=60))()
    assert timer.count().pending == 2


def test_what_a_generator_calls_meanwhile_is_stored_at_once(add, timer):
    seen = []

    def signatures():
        for number in range(3):
            seen.append(add.apply_async((number,), countdown=60).peek() is not None)
            yield add.s(number).set(countdown=60)

    group(signatures())()
    assert seen == [True] * 3
    assert timer.count().pending == 6


def test_a_countdown_begins_when_its_member_is_sent_and_none_waits_long_for_the_others(
    add, monkeypatch, redis_client, calls
):
    clock = [1000.0]
    monkeypatch.setattr(groups, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def on_publish(**more):
        clock[0] += 30

    before = calls()
    before_task_publish.connect(on_publish)
    try:
        result = group(add.s(n).set(countdown=1000) for n in range(3))()
    finally:
        before_task_publish.disconnect(on_publish)
    assert calls() - before >= 2
    first, second, third = (member.peek().due_at.timestamp() for member in result.results)
    assert 20 < second - first < 40
    assert abs(third - second) < 10


def test_another_policy_of_conflicts_is_the_members_own(app, timer):
    @app.task(name="careful", dtimer_options={"on_conflict": "error"})
    def careful(number):
        pass

    careful.apply_async((1,), countdown=60, task_id="same")
    with pytest.raises(EventExistsError):
        group(careful.s(1).set(countdown=60, task_id="same"))()
    assert timer.count().pending == 1


def test_a_timer_that_is_away_leaves_the_members_to_the_broker(app, add, published, caplog):
    app._dtimer.give({"url": f"redis://127.0.0.1:{free_port()}/0"})
    result = group(add.s(n).set(countdown=60) for n in range(3)).apply_async(retry=False)
    messages = [published(app) for _ in range(3)]
    assert [message.headers["id"] for message in messages] == [member.id for member in result.results]
    assert all(message.headers["eta"] for message in messages)
    assert "dtimer: 3 of 3 tasks of a group were refused by the timer, and go to the broker" in caplog.text


def test_one_that_is_too_large_goes_to_the_broker_alone(app, add, published, timer):
    app._dtimer.give({"max_payload": 2000})
    result = group(add.s(text).set(countdown=60) for text in ("a", "".join(map(chr, range(33, 6000))), "b"))()
    sent = [message.headers["id"] for message in iter(lambda: published(app), None)]
    assert sent == [result.results[1].id]
    assert ids(timer) == {result.results[0].id, result.results[2].id}


def test_too_few_replicas_are_the_users_error_after_all_is_stored(app, add, timer):
    app._dtimer.give({"wait_replicas": 1, "wait_timeout": 0.01})
    with pytest.raises(NotReplicatedError) as caught:
        group(add.s(n).set(countdown=60) for n in range(3))()
    assert len(caught.value.event_ids) == 3
    assert timer.count().pending == 3


def test_signals_and_counters_are_told_of_each_member(app, add):
    published, posted = [], []

    def on_publish(sender, headers, **more):
        published.append(headers["id"])

    def on_posted(sender, **fields):
        posted.append(fields["id"])

    before_task_publish.connect(on_publish)
    event_posted.connect(on_posted)
    try:
        result = group(add.s(n).set(countdown=60) for n in range(3))()
    finally:
        before_task_publish.disconnect(on_publish)
        event_posted.disconnect(on_posted)
    assert sorted(published) == sorted(posted) == sorted(member.id for member in result.results)
    assert app._dtimer.counters.total("posted") == 3


def test_a_group_of_an_app_without_a_timer_is_as_it_was(app, published):
    other = Celery("other", broker="memory://other", set_as_current=False)
    other.conf.task_default_queue = "of the other app"  # other tests' messages are in Celery's own
    try:
        task = other.task(name="task")(total)
        result = group(task.s().set(countdown=60), app=other)()
        assert published(other).headers["id"] == result.results[0].id
    finally:
        other.close()
