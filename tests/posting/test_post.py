"""post_in, post_at and post: the right event, and in it the message that Celery would have published."""

import pickle
import threading
import zlib
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from celery.canvas import Signature
from celery.result import AsyncResult, EagerResult, result_from_tuple
from celery.signals import after_task_publish, before_task_publish
from kombu import Exchange, Queue, binding
from kombu.common import Broadcast
from kombu.serialization import loads
from rig.ports import HOST, free_port

from celery_dtimer import (
    Answer,
    EventExistsError,
    InvalidEventError,
    State,
    TimerResult,
    dtimer_task,
)

INSTANT = datetime(2100, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


@pytest.fixture
def server_now(redis_client):
    """The server's clock."""

    def server_now():
        seconds, microseconds = redis_client.time()
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)

    return server_now


@pytest.fixture
def closed():
    """A host and port where nobody listens."""
    return f"{HOST}:{free_port()}"


def bytes_of(message):
    """The body of a stored message, decompressed: kombu does that as it takes a message from a broker."""
    return zlib.decompress(message.body) if "compression" in message.headers else message.body


def body_of(message):
    """The body of a stored message, deserialized."""
    return loads(bytes_of(message), message.content_type, message.content_encoding, accept=[message.content_type])


# --- when


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        (90, 90),
        (90.0625, 90.0625),
        (timedelta(minutes=1, milliseconds=5), 60.005),
        (Decimal("12.345"), 12.345),
        (Fraction(1, 4), 0.25),
        (0, 0),
        (0.0, 0),
        (-5, 0),
        (timedelta(days=-1), 0),
        (-1e308, 0),
        (timedelta(days=365 * 1000), 365 * 1000 * 86400),
    ],
)
def test_a_delay_counts_from_now_by_the_servers_clock_and_is_never_cut_short(add, server_now, delay, seconds):
    before = server_now()
    result = add.post_in(delay, 1)
    after = server_now()
    due_at = result.peek().due_at
    assert before + timedelta(seconds=seconds) <= due_at
    assert due_at <= after + timedelta(seconds=seconds, milliseconds=2)


@pytest.mark.parametrize(
    ("eta", "instant"),
    [
        (INSTANT, INSTANT),
        (INSTANT.replace(tzinfo=None), INSTANT),
        (INSTANT.astimezone(ZoneInfo("Asia/Kathmandu")), INSTANT),
        (INSTANT.astimezone(timezone(timedelta(hours=-11))), INSTANT),
        ("2100-01-02T03:04:05.678Z", INSTANT),
        ("2100-01-02T03:04:05.678", INSTANT),
        ("2100-01-02T05:04:05.678+02:00", INSTANT),
        ("2100-01-02", datetime(2100, 1, 2, tzinfo=UTC)),
        (INSTANT + timedelta(microseconds=1), INSTANT + timedelta(milliseconds=1)),
        (datetime(9999, 12, 31, 23, 59, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC)),
        (datetime(1999, 12, 31, tzinfo=UTC), datetime(1999, 12, 31, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_an_eta_is_the_instant_that_celery_would_make_of_it(app, add, eta, instant, zone):
    app.conf.timezone = zone
    assert add.post_at(eta, 1).peek().due_at == instant
    assert add.post((1,), eta=eta).peek().due_at == instant


def test_an_eta_in_the_two_hours_that_are_one_by_the_clock_is_the_one_that_its_fold_says(add):
    zone = ZoneInfo("Europe/Berlin")
    first = datetime(2030, 10, 27, 2, 30, tzinfo=zone, fold=0)
    assert add.post_at(first, 1).peek().due_at == datetime(2030, 10, 27, 0, 30, tzinfo=UTC)
    assert add.post_at(first.replace(fold=1), 1).peek().due_at == datetime(2030, 10, 27, 1, 30, tzinfo=UTC)


# --- what


def test_arguments_pass_as_they_are_given(add, stored):
    assert body_of(stored(add.post_in(60, 1, y=2)))[:2] == [[1], {"y": 2}]
    assert body_of(stored(add.post([1], {"y": 2}, delay=60)))[:2] == [[1], {"y": 2}]
    assert body_of(stored(add.post((x for x in (1, 2)), delay=60)))[:2] == [[1, 2], {}]
    assert body_of(stored(add.post(kwargs={"x": 1}, delay=60)))[:2] == [[], {"x": 1}]


def test_a_missing_or_unknown_argument_is_refused_as_by_apply_async(add, keyspace):
    for arguments in ((), (1, 2, 3)):
        with pytest.raises(TypeError) as native:
            add.apply_async(arguments)
        with pytest.raises(TypeError) as ours:
            add.post_in(60, *arguments)
        assert str(ours.value) == str(native.value)
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        add.post_in(60, 1, z=3)
    assert keyspace() == {}


def test_a_task_without_typing_takes_any_arguments(app, stored):
    @app.task(name="untyped", typing=False)
    def untyped():
        pass

    assert body_of(stored(untyped.post_in(60, 1, 2)))[0] == [1, 2]


AFTER = Signature("after", args=(1,), immutable=True)

#: Options of ``apply_async``, each by a name that says what it is.
OPTIONS = {
    "nothing": {},
    "expires as an instant": {"expires": datetime(2100, 5, 5, tzinfo=UTC)},
    "link": {"link": AFTER},
    "links and errbacks": {"link": [AFTER, AFTER], "link_error": [Signature("failed")]},
    "headers": {"headers": {"mine": {"deep": [1, None, "ü"]}, "flag": False}},
    "priority": {"priority": 7},
    "priority 0": {"priority": 0},
    "pickle": {"serializer": "pickle"},
    "msgpack": {"serializer": "msgpack"},
    "compression": {"compression": "zlib"},
    "time limits": {"time_limit": 30, "soft_time_limit": 20.5},
    "ignored result": {"ignore_result": True},
    "shadow": {"shadow": "another name"},
    "stamps": {"stamped_headers": ["stamp"], "stamp": "value"},
    "reprs": {"argsrepr": "<hidden>", "kwargsrepr": "<hidden>"},
    "ancestors": {"root_id": "root", "parent_id": "parent"},
    "group": {"group_id": "group", "group_index": 3},
    "chord": {"chord": AFTER},
    "chain": {"chain": [AFTER]},
    "retries": {"retries": 2},
    "reply_to": {"reply_to": "somewhere"},
    "not persistent": {"delivery_mode": 1},
    "not persistent by name": {"delivery_mode": "transient"},
    "further properties": {"message_id": "m", "user_id": "u"},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("protocol", [2, 1])
def test_a_worker_gets_header_for_header_what_apply_async_would_have_published(
    app, add, published, stored, name, protocol
):
    app.conf.task_protocol = protocol
    options = OPTIONS[name]
    add.apply_async((1,), {"y": 2}, task_id="same", **options)
    native = published(app)
    result = add.post((1,), {"y": 2}, task_id="same", delay=60, **options)
    ours = stored(result)

    assert ours.headers == native.headers
    assert [type(value) for value in ours.headers.values()] == [type(native.headers[name]) for name in ours.headers]
    assert (ours.content_type, ours.content_encoding) == (native.content_type, native.content_encoding)
    assert bytes_of(ours) == native.body
    properties = {name: value for name, value in native.properties.items() if value is not None}
    delivery = properties.pop("delivery_info")
    del properties["delivery_tag"], properties["body_encoding"]
    # A time to live in the broker, made from the seconds to `expires`, differs by the time between the two calls.
    assert abs(int(properties.pop("expiration", 0)) - int(ours.properties.pop("expiration", 0))) < 5000
    assert ours.properties == properties
    assert (ours.exchange, ours.routing_key) == (delivery["exchange"], delivery["routing_key"])


def shadow_name(task, args, kwargs, options):
    return "shadow"


def test_defaults_of_the_task_are_in_the_message_too(app, published, stored):
    @app.task(
        name="defaults",
        serializer="pickle",
        compression="zlib",
        expires=datetime(2100, 1, 1, tzinfo=UTC),
        time_limit=9,
        ignore_result=True,
        shadow_name=shadow_name,
    )
    def defaults(x):
        pass

    defaults.apply_async((1,), task_id="same")
    native, ours = published(app), stored(defaults.post((1,), delay=60, task_id="same"))
    assert ours.headers == native.headers
    assert bytes_of(ours) == native.body
    assert ours.headers["shadow"] == "shadow"


def test_the_configurations_serializer_compression_and_priority_are_used(app, add, published, stored):
    app.conf.update(task_serializer="msgpack", task_compression="zlib", task_default_priority=3)
    add.apply_async((1,), task_id="same")
    native, ours = published(app), stored(add.post((1,), delay=60, task_id="same"))
    assert ours.headers == native.headers
    assert ours.content_type == native.content_type == "application/x-msgpack"
    assert bytes_of(ours) == native.body
    assert ours.properties["priority"] == native.properties["priority"] == 3


def test_expires_in_seconds_counts_from_the_call(add, stored):
    before = datetime.now(UTC)
    expires = datetime.fromisoformat(stored(add.post((1,), delay=60, expires=120)).headers["expires"])
    assert before + timedelta(seconds=119) <= expires <= datetime.now(UTC) + timedelta(seconds=121)


def test_a_header_named_dtimer_is_the_requests_own_and_is_not_stored(add, stored):
    assert "dtimer" not in stored(add.post((1,), delay=60, headers={"dtimer": "forged"})).headers


def test_a_large_and_a_binary_body_come_back_byte_for_byte(app, timer):
    data = bytes(range(256)) * 1000

    @app.task(name="binary", serializer="pickle")
    def binary(data):
        pass

    result = binary.post_in(60, data)
    info = result.peek()
    from celery_dtimer import message

    assert body_of(message.decode(info.payload, info.id, info.queue))[0] == (data,)


# --- where to


@pytest.fixture
def media(app):
    """Queues of every kind."""
    direct, topic = Exchange("media", type="direct"), Exchange("news", type="topic")
    app.conf.task_queues = [
        Queue("images", direct, routing_key="image"),
        Queue("videos", direct, routing_key="video"),
        Queue("sports", topic, routing_key="news.sport.#"),
        Queue("weather", topic, routing_key="news.*.weather"),
        Queue("many", [binding(direct, routing_key="sound"), binding(direct, routing_key="noise")]),
        Queue("all", Exchange("all", type="direct"), routing_key="all"),
        Broadcast("everyone"),
    ]
    app.conf.task_default_queue = "all"
    app.conf.task_default_exchange = "all"
    app.conf.task_default_routing_key = "all"
    return app


@pytest.mark.parametrize(
    ("options", "queue", "exchange", "routing_key"),
    [
        ({}, "all", "", "all"),
        ({"queue": "images"}, "images", "", "images"),
        ({"queue": "sports"}, "sports", "news", "news.sport.#"),
        ({"queue": "sports", "routing_key": "news.sport.chess"}, "sports", "news", "news.sport.chess"),
        ({"exchange": "media", "routing_key": "video"}, "videos", "media", "video"),
        ({"exchange": "media", "routing_key": "noise"}, "many", "media", "noise"),
        ({"exchange": Exchange("media"), "routing_key": "image"}, "images", "media", "image"),
        ({"exchange": "news", "routing_key": "news.sport.chess"}, "sports", "news", "news.sport.chess"),
        ({"exchange": "news", "routing_key": "news.sport.ball.foot"}, "sports", "news", "news.sport.ball.foot"),
        ({"exchange": "news", "routing_key": "news.local.weather"}, "weather", "news", "news.local.weather"),
        ({"queue": Queue("mine", Exchange("own"), routing_key="own")}, "mine", "", "mine"),
    ],
)
def test_a_task_waits_in_the_queue_that_the_broker_would_have_put_it_into(
    media, add, stored, options, queue, exchange, routing_key
):
    result = add.post((1,), delay=60, **options)
    assert result.peek().queue == queue
    message = stored(result)
    assert (message.exchange, message.routing_key) == (exchange, routing_key)


def route_to_videos(name, args, kwargs, options, task=None, **more):
    return {"queue": "videos"}


@pytest.mark.parametrize(
    "route",
    [
        {"add": "videos"},
        {"add": {"queue": "videos"}},
        {"a*": {"queue": "videos"}},
        {"add": {"exchange": "media", "routing_key": "video"}},
        route_to_videos,
    ],
    ids=["name", "queue", "glob", "exchange", "function"],
)
def test_task_routes_decide_and_an_explicit_queue_goes_before_them(media, add, route):
    media.conf.task_routes = route if callable(route) else {**route}
    assert add.post_in(60, 1).peek().queue == "videos"
    if callable(route) or "exchange" not in str(route):
        return
    assert add.post((1,), delay=60, exchange="media", routing_key="image").peek().queue == "images"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"exchange": "nowhere", "routing_key": "video"}, ["'nowhere'", "'video'", "queue="]),
        ({"exchange": "media", "routing_key": "smell"}, ["'media'", "'smell'", "queue="]),
        ({"exchange": "news", "routing_key": "news.sport.weather"}, ["sports, weather", "queue="]),
        ({"queue": "everyone"}, ["'everyone'", "broadcast"]),
    ],
)
def test_an_exchange_that_leads_to_no_queue_or_to_several_is_refused(media, add, keyspace, options, words):
    with pytest.raises(InvalidEventError) as caught:
        add.post((1,), delay=60, **options)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert caught.value.argument == "exchange"
    assert keyspace() == {}


def test_a_new_queue_is_made_by_its_name_as_celery_does(add):
    assert add.post((1,), delay=60, queue="made up").peek().queue == "made up"


# --- signals and monitoring


@pytest.fixture
def signals():
    """What the two signals of publishing were called with."""
    seen = []

    def before(sender=None, **given):
        seen.append(("before", sender, given))

    def after(sender=None, **given):
        seen.append(("after", sender, given))

    before_task_publish.connect(before)
    after_task_publish.connect(after)
    yield seen
    before_task_publish.disconnect(before)
    after_task_publish.disconnect(after)


def test_the_signals_fire_once_each_and_say_what_they_say_natively(app, add, signals):
    policy = {"max_retries": 7}
    add.apply_async((1,), task_id="same", retry_policy=policy)
    native = list(signals)
    signals.clear()
    add.post((1,), task_id="same", delay=60, retry_policy=policy)
    assert [name for name, _, _ in signals] == ["before", "after"]
    for (_, sender, given), (_, native_sender, native_given) in zip(signals, native, strict=True):
        assert sender == native_sender == "add"
        del given["signal"], native_given["signal"]
        assert given == native_given


def test_what_before_task_publish_changes_is_stored(add, stored):
    def tag(headers=None, properties=None, **more):
        headers["tagged"] = "yes"
        properties["priority"] = 9

    before_task_publish.connect(tag)
    try:
        message = stored(add.post_in(60, 1))
    finally:
        before_task_publish.disconnect(tag)
    assert message.headers["tagged"] == "yes"
    assert message.properties["priority"] == 9


def test_after_task_publish_does_not_fire_for_what_is_refused(add, signals):
    add.post((1,), delay=60, task_id="one")
    signals.clear()
    with pytest.raises(EventExistsError):
        add.post((1,), delay=60, task_id="one")
    assert [name for name, _, _ in signals] == ["before"]


def test_task_sent_events_go_to_the_broker_with_the_eta(app, add):
    app.conf.task_send_sent_event = True
    received = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"task-sent": received.append}, app=app)
        with receiver.consumer_context() as (drain, _, _):
            result = add.post_at(INSTANT, 1, y=2)
            other = add.post_in(60, 3)
            while len(received) < 2:
                drain.drain_events(timeout=5)
    first, second = received
    assert first["uuid"] == result.id
    assert first["name"] == "add"
    assert first["args"] == "(1,)"
    assert datetime.fromisoformat(first["eta"]) == INSTANT
    assert first["queue"] == app.conf.task_default_queue
    eta = datetime.fromisoformat(second["eta"])
    assert abs(eta - other.peek().due_at) < timedelta(seconds=2)


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_a_broker_that_is_away_does_not_fail_a_post_that_is_monitored(make_app, redis_url, closed, scheme, caplog):
    app = make_app(broker=f"{scheme}://{closed}", dtimer_url=redis_url, task_send_sent_event=True)

    @app.task(name="monitored")
    def monitored():
        pass

    results = []
    thread = threading.Thread(target=lambda: results.append(monitored.post_in(60)), daemon=True)
    thread.start()
    thread.join(4)  # kombu's own wait for a connection would take 6 s
    assert results, "the post waits for the broker"
    assert results[0].peek() is not None
    assert "dtimer: the task-sent event of task" in caplog.text


# --- no broker


@pytest.mark.parametrize("backend", [None, "disabled", "redis"])
def test_posting_opens_no_connection_to_the_broker(make_app, redis_url, redis_server, closed, backend):
    backend = redis_server.url_of(2) if backend == "redis" else backend
    app = make_app(
        broker=f"amqp://{closed}", dtimer_url=redis_url, result_backend=backend, broker_connection_retry=False
    )

    @app.task(name="alone")
    def alone():
        pass

    result = alone.post_in(60)
    assert result.peek().state is State.PENDING
    with redis_server.client(2) as client:
        assert client.keys() == []
        assert result.cancel()
        assert app.pool._dirty == set()
        client.flushdb()  # the state of the cancelled task


def test_the_rpc_backend_declares_its_reply_queue_and_gets_the_reply_address(app, add, stored):
    app.conf.result_backend = "rpc://"
    result = add.post_in(60, 1)
    message = stored(result)
    assert message.properties["reply_to"] == app.thread_oid
    with app.connection_for_read() as connection:
        # Passive: an error if there is no such queue.
        connection.default_channel.queue_declare(app.thread_oid, passive=True)
    assert app.pool._dirty == set()


# --- the timer's options


def test_a_second_post_of_an_id_is_refused_and_says_how_to_allow_it(add, keyspace):
    first = add.post((1,), delay=60, task_id="one")
    before = keyspace()
    with pytest.raises(EventExistsError, match=r"'one' is pending .*on_conflict") as caught:
        add.post((2,), delay=90, task_id="one")
    assert caught.value.event_id == "one"
    assert caught.value.due_ms == round(first.peek().due_at.timestamp() * 1000)
    assert keyspace() == before


@pytest.mark.parametrize(
    ("mode", "arguments", "moved"), [("keep", [1], False), ("replace", [2], True), ("postpone", [1], True)]
)
def test_on_conflict_says_what_a_second_post_of_an_id_means(add, stored, mode, arguments, moved):
    first = add.post((1,), delay=60, task_id="one")
    due_at = first.peek().due_at
    second = add.post((2,), delay=90, task_id="one", on_conflict=mode)
    assert second.id == "one"
    assert body_of(stored(second))[0] == arguments
    assert (second.peek().due_at - due_at >= timedelta(seconds=30)) is moved


def test_max_wait_bounds_a_debounce(add):
    first = add.post((1,), delay=60, task_id="one", on_conflict="postpone", max_wait=timedelta(minutes=2))
    add.post((1,), delay=600, task_id="one", on_conflict="postpone", max_wait=120)
    due_in = first.peek().due_at - datetime.now(UTC)
    assert timedelta(seconds=100) < due_in < timedelta(seconds=125)


def test_max_redeliveries_comes_from_the_call_or_the_task_or_the_settings(app, add):
    app.conf.dtimer_max_redeliveries = 7

    @dtimer_task(name="limited", max_redeliveries=3)
    def limited():
        pass

    assert add.post_in(60, 1).peek().max_redeliveries == 7
    assert add.post((1,), delay=60, max_redeliveries=0).peek().max_redeliveries == 0
    assert limited.post_in(60).peek().max_redeliveries == 3
    assert limited.post(delay=60, max_redeliveries=5).peek().max_redeliveries == 5


def test_dtimer_task_with_and_without_arguments(app):
    @dtimer_task
    def bare():
        return "bare"

    @dtimer_task()
    def called():
        return "called"

    @dtimer_task(name="named", bind=True, ignore_result=True, acks_late=False, reject_on_worker_lost=None)
    def with_options(self):
        return self.name

    assert bare.name.endswith("bare")
    for task in (bare, called):
        assert task.acks_late is True
        assert task.reject_on_worker_lost is True
        assert task.post_in(60).peek().queue == app.conf.task_default_queue
    assert with_options.acks_late is False
    assert with_options.reject_on_worker_lost is None
    assert with_options.post_in(60).ignored is True
    assert (bare(), called(), with_options()) == ("bare", "called", "named")
    with pytest.raises(TypeError, match="by their names"):
        dtimer_task("name")


def test_timer_options_of_dtimer_task_are_checked_where_it_is_defined(app, add):
    with pytest.raises(InvalidEventError, match="on_conflict"):
        dtimer_task(on_conflict="overwrite")
    with pytest.raises(InvalidEventError, match="max_redeliveries"):
        dtimer_task(max_redeliveries=-1)
    with pytest.raises(InvalidEventError, match="max_wait"):
        dtimer_task(max_wait=5)

    @dtimer_task(name="debounced", on_conflict="postpone", max_wait=60)
    def debounced():
        pass

    debounced.post(delay=30, task_id="one")
    due_in = debounced.post(delay=600, task_id="one").peek().due_at - datetime.now(UTC)
    assert due_in < timedelta(seconds=61)
    # Another mode at the call has no use for the default's bound, and does not trip over it.
    assert debounced.post(delay=90, task_id="one", on_conflict="keep").id == "one"


def test_in_eager_mode_a_post_runs_at_once(app, add, keyspace):
    app.conf.task_always_eager = True

    @app.task(name="seen", bind=True)
    def seen(self):
        return self.request.dtimer

    result = add.post_in(3600, 1, y=2)
    assert isinstance(result, EagerResult)
    assert result.get() == 3
    assert add.post((1,), eta=INSTANT, max_redeliveries=3, on_conflict="keep").get() == 1
    assert seen.post_in(3600).get() is None
    assert keyspace() == {}


# --- the result


def test_a_timer_result_can_peek_move_and_cancel(add, server_now):
    result = add.post_in(3600, 1)
    assert isinstance(result, AsyncResult)
    assert isinstance(result, TimerResult)
    info = result.peek()
    assert (info.id, info.state, info.redeliveries, info.holder) == (result.id, State.PENDING, 0, None)
    assert result.change_delay(60)
    assert timedelta(seconds=59) < result.peek().due_at - server_now() <= timedelta(seconds=60, milliseconds=2)
    assert result.change_eta(INSTANT)
    assert result.peek().due_at == INSTANT
    assert result.change_eta("2100-01-01")
    assert result.peek().due_at == datetime(2100, 1, 1, tzinfo=UTC)
    assert result.cancel()
    assert result.cancel() == Answer()
    assert result.peek() is None
    assert not result.change_delay(60)
    assert not result.change_eta(INSTANT)
    assert result.peek() is None


def test_a_timer_result_can_be_made_from_an_id_alone(app, add):
    assert TimerResult(add.post_in(60, 1).id, app=app).cancel()


def test_a_timer_result_behaves_as_the_async_result_that_apply_async_returns(app, add):
    native = add.apply_async((1,), task_id="native")
    result = add.post((1,), delay=60, task_id="posted", ignore_result=True)
    assert result.ignored is True
    assert native.ignored is False
    assert result.backend is add.backend
    assert result.app is app
    assert result.get() is None
    waiting = add.post_in(60, 1)
    assert waiting.status == "PENDING"
    assert not waiting.ready()
    assert repr(waiting) == f"<AsyncResult: {waiting.id}>"
    assert str(waiting) == waiting.id
    assert waiting == app.AsyncResult(waiting.id)
    assert result_from_tuple(waiting.as_tuple(), app=app).id == waiting.id


def test_a_timer_result_can_be_pickled(app, add):
    result = add.post_in(60, 1)
    app.set_current()
    again = pickle.loads(pickle.dumps(result))
    assert type(again) is type(result)
    assert again == result
    assert again.peek() == result.peek()


def test_a_thousand_posts_from_eight_threads_are_all_stored(app, add, timer):
    ids = []

    def post():
        ids.extend(add.post_in(3600, n).id for n in range(125))

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 1000
    assert timer.count().pending == 1000
