"""What the timer refuses: named in the error, and nothing is stored or changed by it."""

import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from rig.keyspace import snapshot
from seeds import FUTURE_MS, at, event, seed

from celery_dtimer import DTimer, Post
from celery_dtimer.errors import (
    DTimerError,
    InvalidDelayError,
    InvalidEventError,
    PayloadTooLargeError,
    PostManyError,
    SettingsError,
    TimerUnavailableError,
)


def label(value):
    return re.sub(r" at 0x\w+", "", repr(value))[:40]


NOWHERE = "redis://user:hunter2@127.0.0.1:1/0"  # nobody listens on port 1

BAD_DELAYS = [
    "60",
    b"60",
    [60],
    {},
    object(),
    complex(60),
    True,
    False,
    math.nan,
    math.inf,
    -math.inf,
    Decimal("NaN"),
    10**13,
    10**400,
    timedelta.max,
    datetime(2030, 1, 1, tzinfo=UTC),
]
BAD_ETAS = [
    60,
    "2030-01-01",
    datetime(2030, 1, 1),  # noqa: DTZ001 - naive on purpose
    datetime(2030, 1, 1, tzinfo=UTC).date(),
    timedelta(60),
]
BAD_IDS = ["", "x" * 201, "é" * 101, b"x", 7, True, ["x"], "\ud800"]
BAD_PAYLOADS = [None, 7, 1.5, ["x"], {"x": 1}, object(), "\ud800"]
BAD_COUNTS = [-1, 1.0, "3", True, math.nan, 2**31, 2**70]

REFUSED = [
    *(({"delay": delay}, InvalidDelayError, "delay") for delay in BAD_DELAYS),
    *(({"delay": None, "eta": eta}, InvalidDelayError, "eta") for eta in BAD_ETAS),
    ({"delay": None}, InvalidDelayError, "delay"),
    ({"eta": at(FUTURE_MS)}, InvalidDelayError, "delay"),
    ({"delay": 0, "eta": at(FUTURE_MS)}, InvalidDelayError, "delay"),
    *(({"id": event_id}, InvalidEventError, "id") for event_id in BAD_IDS),
    *(({"payload": payload}, InvalidEventError, "payload") for payload in BAD_PAYLOADS),
    *(({"max_redeliveries": count}, InvalidEventError, "max_redeliveries") for count in BAD_COUNTS),
    *(({"queue": queue}, InvalidEventError, "queue") for queue in ("", "q" * 256, b"q", 7, "\ud800")),
    *(({"on_conflict": mode}, InvalidEventError, "on_conflict") for mode in ("again", "ERROR", "", None, 1, ["keep"])),
    ({"max_wait": 5}, InvalidEventError, "max_wait"),
    ({"max_wait": 5, "on_conflict": "replace"}, InvalidEventError, "max_wait"),
    ({"max_wait": "5", "on_conflict": "postpone"}, InvalidEventError, "max_wait"),
    ({"max_wait": 0, "on_conflict": "postpone"}, InvalidEventError, "max_wait"),
    ({"max_wait": -5, "on_conflict": "postpone"}, InvalidEventError, "max_wait"),
]


@pytest.mark.parametrize(("arguments", "error", "argument"), REFUSED, ids=label)
def test_a_bad_post_is_refused_by_name_and_stores_nothing(timer, redis_client, arguments, error, argument):
    seed(timer.shards[0], event("x", FUTURE_MS))
    before = snapshot(redis_client)
    with pytest.raises(error) as caught:
        timer.post(**{"payload": b"p", "delay": 60, **arguments})
    assert caught.value.argument == argument
    assert isinstance(caught.value, ValueError)
    assert snapshot(redis_client) == before


@pytest.mark.parametrize("payload", [["a secret"], {"x": "a secret"}, "a secret\ud800"], ids=label)
def test_the_refusal_of_a_payload_does_not_show_it(timer, payload):
    with pytest.raises(InvalidEventError, match="^payload must be bytes or text, got ") as caught:
        timer.post(payload, 60)
    assert "a secret" not in str(caught.value)


@pytest.mark.parametrize("size", [11, 1000])
def test_a_payload_that_is_too_large_is_refused_with_its_size_the_limit_and_the_setting(redis_url, redis_client, size):
    with DTimer(redis_url, max_payload=10) as timer:
        with pytest.raises(PayloadTooLargeError, match=f"{size} bytes, and max_payload allows 10") as caught:
            timer.post(b"x" * size, 60)
        assert (caught.value.size, caught.value.limit) == (size, 10)
        with pytest.raises(PayloadTooLargeError):
            timer.post("é" * 6, 60)
    assert snapshot(redis_client) == {}


def test_a_payload_of_exactly_the_limit_is_stored(redis_url, timer):
    with DTimer(redis_url, max_payload=10) as other:
        other.post(b"x" * 10, 60, id="x")
    assert timer.cancel("x")


@pytest.mark.parametrize("event_id", ["x" * 200, "é" * 100, " ", "\n", "@x", "a:b{c}", "\x00"], ids=label)
def test_an_unusual_id_is_an_id(timer, event_id):
    assert timer.post(b"p", 60, id=event_id) == event_id
    assert timer.peek(event_id).id == event_id
    assert timer.cancel(event_id)


@pytest.mark.parametrize("delay", [-1, -1e300, timedelta(days=-1)], ids=label)
def test_a_negative_delay_means_now(timer, now_ms, delay):
    before = now_ms()
    timer.post(b"p", delay, id="x")
    assert before <= timer.peek("x").due_at.timestamp() * 1000 <= now_ms() + 1


@pytest.mark.parametrize("operation", ["peek", "cancel", "replay"])
@pytest.mark.parametrize("event_id", BAD_IDS, ids=label)
def test_a_bad_id_is_refused_by_every_operation(timer, operation, event_id):
    with pytest.raises(InvalidEventError):
        getattr(timer, operation)(event_id)


@pytest.mark.parametrize("delay", BAD_DELAYS, ids=label)
def test_a_bad_delay_is_refused_by_every_operation(timer, store, claim, redis_client, delay):
    seed(store, event("x"))
    (delivery,) = claim()
    before = snapshot(redis_client)
    operations = [
        lambda: timer.change_delay("x", delay),
        lambda: timer.release(delivery, delay),
        lambda: timer.replay("x", delay),
        lambda: timer.upcoming(delay),
        lambda: timer.upcoming(duration=delay),
        lambda: timer.count(delay),
    ]
    for operation in operations:
        with pytest.raises(InvalidDelayError):
            operation()
    assert snapshot(redis_client) == before


@pytest.mark.parametrize("eta", [None, *BAD_ETAS], ids=label)
def test_a_bad_eta_is_refused_by_change(timer, store, redis_client, eta):
    seed(store, event("x"))
    before = snapshot(redis_client)
    with pytest.raises(InvalidDelayError):
        timer.change_eta("x", eta)
    assert snapshot(redis_client) == before


@pytest.mark.parametrize(
    "bounds",
    [
        *({"limit": limit} for limit in (0, -1, 10_001, 1.5, "1", True)),
        *({"skip": skip} for skip in (-1, 1.5, "1", None)),
    ],
    ids=label,
)
def test_a_bad_page_is_refused(timer, bounds):
    with pytest.raises(InvalidEventError):
        timer.upcoming(**bounds)


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        *(({"max_events": count}, "max_events") for count in (0, -1, 1.5, "8", None, True)),
        *(({"confirm_timeout": s}, "confirm_timeout") for s in (0, 0.09, -1, math.nan, math.inf, "10", None)),
        *(({"poll_interval": s}, "poll_interval") for s in (0, 0.09, -1, 60.1, math.nan, math.inf, "1", None, True)),
        *(({"max_redeliveries": count}, "max_redeliveries") for count in BAD_COUNTS),
        ({"queues": ("",)}, "queue"),
        ({"queues": ()}, "queues"),
        ({"queues": "default"}, "queues"),
        ({"max_payload": -1}, "max_payload"),
        ({"max_payload": "1"}, "max_payload"),
    ],
    ids=label,
)
def test_a_bad_argument_of_a_timer_is_refused_by_name(arguments, argument):
    with pytest.raises(InvalidEventError) as caught:
        DTimer(NOWHERE, **arguments)
    assert caught.value.argument == argument


@pytest.mark.parametrize("name", ["confirm_timeout", "poll_interval"])
def test_a_span_may_be_a_timedelta(name):
    assert getattr(DTimer(NOWHERE, **{name: timedelta(seconds=3)}), name) == 3


@pytest.mark.parametrize("namespace", ["", "a b", "a:b", "{a}", "a\n", "x" * 101, None, 5, b"dt", "\ud800"], ids=label)
def test_a_bad_namespace_is_refused(namespace):
    with pytest.raises(SettingsError, match="^namespace must be a name") as caught:
        DTimer(NOWHERE, namespace=namespace)
    assert (caught.value.setting, caught.value.value) == ("namespace", namespace)


BAD_URLS = [
    "",
    "hunter2",
    "amqp://user:hunter2@host//",
    "http://user:hunter2@host/",
    "user:hunter2@host:6379",
    "redis://user:hunter2@host:port/0",
    "redis://user:hunter2@host:99999/0",
    "redis://user:hun/ter2@host:6379/0",
    "redis://user:hunter2#@host:6379/0",
    "redis://:hunter2?@host:6379/0",
    "redis://user:hunter2@[::1/0",
    "redis://host:port/0?password=hunter2",
    "amqp://host/?password=hunter2",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_bad_url_is_refused_and_its_password_is_not_shown(url):
    with pytest.raises(SettingsError, match="^url_or_client ") as caught:
        DTimer(url)
    shown = f"{caught.value}{caught.value.value}{caught.value.__cause__}"
    if url != "hunter2":
        assert "hunter2" not in shown
        assert "ter2" not in shown


def test_a_client_that_decodes_responses_is_refused(redis_server):
    with redis_server.client(decode_responses=True) as client, pytest.raises(InvalidEventError, match="decode"):
        DTimer(client)


# --- Redis does not answer


def test_a_post_to_a_redis_that_is_down_names_the_event_and_not_the_password(start_redis):
    server = start_redis()
    url = server.url.replace("redis://", "redis://default:hunter2@")
    with DTimer(server.url) as timer:
        timer.post(b"p", 60, id="before")
        server.stop()
        with pytest.raises(TimerUnavailableError, match="event x may or may not be stored") as caught:
            timer.post(b"p", 60, id="x")
        assert caught.value.event_ids == ("x",)
        assert isinstance(caught.value, ConnectionError)
        assert isinstance(caught.value.__cause__, Exception)
        server.start()
        assert timer.peek("x") is None
        assert timer.post(b"p", 60, id="x") == "x"
    server.stop()
    with DTimer(url) as timer, pytest.raises(TimerUnavailableError) as caught:
        timer.post(b"p", 60, id="x")
    assert "hunter2" not in str(caught.value)


def test_every_operation_on_a_redis_that_is_down_names_the_event():
    with DTimer(NOWHERE) as timer:
        operations = {
            "peek": lambda: timer.peek("x"),
            "cancel": lambda: timer.cancel("x"),
            "change": lambda: timer.change_delay("x", 1),
            "replay": lambda: timer.replay("x"),
            "upcoming": timer.upcoming,
            "count": timer.count,
        }
        for name, operation in operations.items():
            with pytest.raises(TimerUnavailableError, match=name) as caught:
                operation()
            assert caught.value.event_ids == (() if name in {"upcoming", "count"} else ("x",))
            changed_nothing = name in {"peek", "upcoming", "count"}
            assert ("changed nothing" in str(caught.value)) == changed_nothing
            assert ("may or may not" in str(caught.value)) != changed_nothing
            assert "hunter2" not in str(caught.value)


def test_a_post_to_a_redis_that_hangs_ends_in_an_error_that_names_the_event(start_redis, monkeypatch):
    monkeypatch.setattr("celery_dtimer.timer.connecting.url.TIMEOUT", 0.2)
    server = start_redis()
    with DTimer(server.url) as timer:
        timer.post(b"p", 60, id="before")
        server.pause()
        with pytest.raises(TimerUnavailableError) as caught:
            timer.post(b"p", 60, id="x")
        server.resume()
        assert caught.value.event_ids == ("x",)
        assert timer.post(b"p", 60, id="x", on_conflict="keep") == "x"


def test_many_posts_to_a_redis_that_is_down_name_those_that_may_be_stored():
    with DTimer(NOWHERE) as timer, pytest.raises(PostManyError) as caught:
        timer.post_many([Post(b"p", 60, id=str(i)) for i in range(501)])
    assert caught.value.stored == caught.value.refused == ()
    assert caught.value.unknown == tuple(str(i) for i in range(500))
    assert isinstance(caught.value.__cause__, TimerUnavailableError)


def test_every_error_is_a_dtimer_error():
    with DTimer(NOWHERE) as timer:
        for arguments in ({"delay": "x"}, {"delay": 1, "id": ""}, {"delay": 1}):
            with pytest.raises(DTimerError):
                timer.post(b"p", **arguments)
