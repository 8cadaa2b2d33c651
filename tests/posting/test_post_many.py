"""post_many of a task: messages as of single posts, in few calls; a failure says what is stored."""

import pytest
from celery.signals import before_task_publish

from celery_dtimer import (
    InvalidDelayError,
    InvalidEventError,
    PayloadTooLargeError,
    PostManyError,
    State,
    TaskPost,
    dtimer_task,
    get_timer,
)
from celery_dtimer.signals import event_posted


def test_each_post_has_its_arguments_time_and_options(add, timer, app):
    results = add.post_many(
        [(1, 2), [3], TaskPost((4,), {"y": 5}, delay=120), TaskPost((6,), options={"queue": "mail", "task_id": "own"})],
        delay=60,
        max_redeliveries=7,
    )
    infos = [result.peek() for result in results]
    assert [(info.args, info.kwargs) for info in infos] == [
        ("(1, 2)", "{}"),
        ("(3,)", "{}"),
        ("(4,)", "{'y': 5}"),
        ("(6,)", "{}"),
    ]
    assert [info.queue for info in infos] == [app.conf.task_default_queue] * 3 + ["mail"]
    assert {info.max_redeliveries for info in infos} == {7}
    assert results[3].id == "own"
    assert 55 < (infos[2].due_at - infos[0].due_at).total_seconds() < 65
    assert {info.state for info in infos} == {State.PENDING}
    assert results[0].cancel()


def test_a_message_is_that_of_a_single_post(add, stored):
    def shape(result):
        made = stored(result)
        headers = {name: value for name, value in made.headers.items() if name not in ("id", "root_id")}
        properties = {name: value for name, value in made.properties.items() if name != "correlation_id"}
        return made.body, headers, {**properties, "delivery_tag": None}, made.exchange, made.routing_key

    (one,) = add.post_many([(1, 2)], delay=60, headers={"own": 1}, priority=3)
    assert shape(one) == shape(add.post((1, 2), delay=60, headers={"own": 1}, priority=3))


def test_two_thousand_posts_take_a_round_trip_a_batch(add, redis_client, timer):
    def calls():
        return redis_client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]

    add.post_in(60, 0)
    before = calls()
    results = add.post_many(((n,) for n in range(2000)), delay=60)
    assert calls() - before <= 5
    assert timer.count().pending == 2001
    assert len({result.id for result in results}) == 2000


def test_a_wrong_post_is_refused_by_its_number_and_nothing_is_stored(add, keyspace):
    before = keyspace()
    for posts, error, words in (
        ([(1,), TaskPost((2,), delay="soon")], InvalidDelayError, "delay"),
        ([(1,), TaskPost((2,), delay=1, eta="2100-01-01")], InvalidDelayError, "not both"),
        ([(1,), ("x" * 1_000_000,)], PayloadTooLargeError, "dtimer_max_payload"),
        ([(1,), TaskPost((1,), options={"queu": "mail"})], InvalidEventError, "is queue meant"),
        ([(1,), (1, 2, 3)], TypeError, "positional"),
    ):
        with pytest.raises(error, match=words) as caught:
            add.post_many(posts, delay=60)
        assert caught.value.__notes__ == ["it is number 1 of the posts; nothing is stored"]
    assert keyspace() == before


@pytest.mark.parametrize(
    ("posts", "options", "words"),
    [
        ("text", {}, "posts must be a list of argument tuples or TaskPosts"),
        ({"a": 1}, {}, "posts must be a list"),
        (None, {}, "posts must be a list"),
        ([(1,), 2], {}, r"such as \(argument,\); number 1 is neither, got 2 \(int\)"),
        (["text"], {}, "number 0 is neither"),
        ([(1,)], {"task_id": "x"}, "takes no task_id: it goes into the options of a TaskPost"),
        ([TaskPost(options={"on_conflict": "keep"})], {}, r"on_conflict among its options: it goes into post_many\(\)"),
        ([TaskPost(options={"delay": 1})], {}, "delay among its options: it goes into its TaskPost"),
        ([TaskPost(options=7)], {}, "options must be a mapping"),
    ],
)
def test_what_are_no_posts_is_refused(add, keyspace, posts, options, words):
    before = keyspace()
    with pytest.raises(InvalidEventError, match=words):
        add.post_many(posts, delay=60, **options)
    assert keyspace() == before


def test_no_posts_are_no_calls(add, keyspace):
    before = keyspace()
    assert add.post_many([], delay=60) == []
    assert keyspace() == before


def test_conflicts_are_refused_by_their_ids_and_the_others_are_stored(add, timer):
    add.post((0,), delay=60, task_id="b")
    posts = [TaskPost((1,), options={"task_id": name}) for name in "abc"]
    with pytest.raises(PostManyError, match="1 of 3 events were refused") as caught:
        add.post_many(posts, delay=60)
    assert sorted(caught.value.stored) == ["a", "c"]
    assert caught.value.refused == ("b",)
    assert [result.id for result in add.post_many(posts, delay=60, on_conflict="keep")] == ["a", "b", "c"]


def test_a_debounce_of_many_keys_is_one_call(app, timer):
    @dtimer_task(name="reindex", key="reindex:{name}", on_conflict="postpone", max_wait=600)
    def reindex(name):
        return name

    reindex.post_many([(name,) for name in "abab"], delay=60)
    results = reindex.post_many([(name,) for name in "abab"], delay=3600)
    assert [result.id for result in results] == ["reindex:a", "reindex:b"] * 2
    assert timer.count(duration=590).pending == 0
    assert timer.count(duration=610).pending == 2


def test_a_redis_that_goes_away_is_asked_again_and_then_named(make_app, start_redis):
    server = start_redis()
    app = make_app(dtimer_url=server.url, task_publish_retry_policy={"max_retries": 1, "interval_start": 0.01})

    @app.task(name="add")
    def add(x):
        return x

    server.kill()
    with pytest.raises(PostManyError, match="0 of 3 events are stored") as caught:
        add.post_many([(n,) for n in range(3)], delay=60)
    error = caught.value
    assert (error.stored, error.refused) == ((), ())
    assert len(error.unknown) in (0, 3)


def test_signals_and_counters_tell_of_each(app, add):
    published, posted = [], []

    @before_task_publish.connect(weak=True)
    def before(headers, **_):
        published.append(headers["id"])

    @event_posted.connect(weak=True)
    def told(due_at, **fields):
        posted.append(fields["id"])
        assert due_at is not None

    ids = [result.id for result in add.post_many([(1,), (2,)], delay=60)]
    assert published == ids
    assert sorted(posted) == sorted(ids)


def test_task_sent_events_are_sent_for_what_is_stored(app, add):
    app.conf.task_send_sent_event = True
    add.post((0,), delay=60, task_id="pending")
    received = []
    posts = [TaskPost((1,), options={"task_id": name}) for name in ("a", "pending", "b")]
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"task-sent": received.append}, app=app)
        with receiver.consumer_context() as (drain, _, _):
            with pytest.raises(PostManyError):
                add.post_many(posts, delay=60)
            last = add.post_in(60, 3)
            while len(received) < 3:
                drain.drain_events(timeout=5)
    assert [event["uuid"] for event in received] == ["a", "b", last.id]


def test_tasks_that_run_at_once_run(app, add):
    app.conf.task_always_eager = True
    assert [result.get() for result in add.post_many([(1, 2), (3, 4)], delay=60)] == [3, 7]


def test_get_timer_refuses_it_as_a_single_post(app):
    with pytest.raises(RuntimeError, match="post or post_many of the task"):
        get_timer(app).post_many([])
