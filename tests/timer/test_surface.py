"""Whatever is given to a public method: it does its work, or it raises a DTimerError. Nothing else comes out."""

import array
import math
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction

import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rig.keyspace import finish, snapshot

from celery_dtimer import Delivery, DTimer, DTimerError, InvalidDelayError, InvalidEventError, Post


class Unshown:
    """An object whose every question raises, but for those that Python needs."""

    def __repr__(self):
        raise RuntimeError("no repr")

    def __eq__(self, other):
        raise ValueError("ambiguous")

    def __bool__(self):
        raise ValueError("ambiguous")

    __hash__ = object.__hash__


class OddZone(tzinfo):
    def __init__(self, offset):
        self._offset = offset

    def utcoffset(self, _):
        if isinstance(self._offset, Exception):
            raise self._offset
        return self._offset


released = memoryview(b"gone")
released.release()

ODD = [
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, 10**400, 10**5000, -(10**5000)),
    *(0.0, -0.0, 0.5, 1e-320, 1e300, math.inf, -math.inf, math.nan, 1j),
    *(Decimal("1.5"), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1e999999")),
    *(Fraction(1, 3), Fraction(10**400, 3)),
    *("", "x", "default", "\ud800", "é" * 101, "x" * 300, "\0", "a\nb", "{x}", "2.5", "3", "error", "postpone"),
    *("redis://127.0.0.1:1/0", "redis://:p@ss\ud800@h", "redis://h:port"),
    *(b"", b"x", b"\xff", bytearray(b"x"), memoryview(b"xy")[::2], released, array.array("d", [1.0])),
    *([], [1], ["x"], ["x", ""], ("x", "x"), {}, {"x": 1}, {"x"}, iter(["x"]), range(3), object(), Unshown(), int),
    *(timedelta(0), timedelta.max, timedelta.min, timedelta(microseconds=1), date(2030, 1, 1)),
    *(datetime(2030, 1, 1), datetime(2030, 1, 1, tzinfo=UTC)),  # noqa: DTZ001 - naive on purpose
    *(datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))), datetime.min.replace(tzinfo=UTC)),
    *(
        datetime(2030, 1, 1, tzinfo=OddZone(offset))
        for offset in (None, 5, timedelta(days=2), RuntimeError(), NotImplementedError())
    ),
    *(Post(b"x", 1), Post(None, "x"), [Post(b"x", 1, id="a"), Post(b"x", 1, id="a")], [Post(b"", eta=5)]),
    *(Delivery("x", b"", "q", 0, 0, 1, b"k", "t"), Delivery("x", b"", "q", 0, 0, 1, b"k", "t", shard=7), print),
]
# By their places: Hypothesis hashes what it samples from.
VALUES = (
    # A lambda, since Hypothesis shows what a bound method belongs to.
    st.integers(0, len(ODD) - 1).map(lambda number: ODD[number])
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.timedeltas()
)

METHODS = {
    "post": ["payload", "delay", "eta", "id", "queue", "max_redeliveries", "on_conflict", "max_wait", "kind"],
    "post_many": ["posts", "on_conflict"],
    "peek": ["id"],
    "cancel": ["id", "if_due_at"],
    "change_delay": ["id", "delay", "if_due_at"],
    "change_eta": ["id", "eta", "if_due_at"],
    "run_now": ["id", "if_due_at"],
    "cancel_many": ["ids"],
    "change_many": ["ids", "delay", "eta"],
    "replay": ["id", "delay"],
    "drop": ["id"],
    "parked": ["limit", "after", "kind", "reason"],
    "replay_many": ["ids", "kind", "reason", "all", "rate", "delay", "dry_run"],
    "drop_many": ["ids", "kind", "reason", "all", "dry_run"],
    "upcoming": ["offset", "duration", "limit", "skip"],
    "count": ["offset", "duration"],
    "forecast": ["step", "intervals", "offset"],
    "confirm": ["delivery"],
    "confirm_soon": ["delivery"],
    "release": ["delivery", "delay"],
    "renew": ["delivery"],
    "leave": ["timeout"],
    "on_event": ["handler"],
    "on_error": ["handler"],
    "hold": ["queue", "why", "by"],
    "resume": ["kind"],
}

#: Good values, so that one bad argument is not always hidden by another.
GOOD = {
    "payload": b"p",
    "delay": 60,
    "eta": datetime(2100, 1, 1, tzinfo=UTC),
    "if_due_at": datetime(2100, 1, 1, tzinfo=UTC),
    "id": "x",
    "ids": ["x"],
    "posts": [Post(b"p", 60)],
    "delivery": Delivery("x", b"", "q", 0, 0, 1, b"k", "t"),
    "handler": print,
    "timeout": 0,
}

ARGUMENTS = {
    "namespace": "dt",
    "max_events": 8,
    "confirm_timeout": 10,
    "poll_interval": 1,
    "shards": 1,
    "queues": ["default"],
    "max_redeliveries": 20,
    "max_payload": 100,
    "name": None,
    "wait_replicas": 0,
    "wait_timeout": 1,
    "eviction_check": "ignore",
}


def good_of(name, bad):
    """Good values for all arguments of a method but the bad ones, and one way where there are several."""
    left_out = {"post": {"eta"}, "change_many": {"eta"}, "replay_many": {"ids"}, "drop_many": {"ids"}}.get(name, set())
    return {argument: GOOD[argument] for argument in METHODS[name] if argument in GOOD.keys() - bad - left_out}


@st.composite
def method_calls(draw):
    name = draw(st.sampled_from(sorted(METHODS)))
    names = METHODS[name]
    bad = draw(st.sets(st.sampled_from(names), min_size=1, max_size=2))
    return name, {**good_of(name, bad), **{argument: draw(VALUES) for argument in bad}}


@pytest.fixture(scope="module")
def place(redis_server):
    """A timer that many examples share, in a database that is emptied before."""
    with redis_server.client() as client:
        client.flushall()
        with DTimer(redis_server.url, namespace="surface") as timer:
            yield timer
            finish(timer.shards[0], client)
            assert snapshot(client) == {}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(call=method_calls())
def test_a_method_does_its_work_or_raises_a_dtimer_error(place, call):
    name, arguments = call
    with suppress(DTimerError):
        getattr(place, name)(**arguments)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_given_each_odd_value_does_its_work_or_raises_a_dtimer_error(place, name):
    for argument in METHODS[name]:
        good = good_of(name, {argument})
        for value in ODD:
            with suppress(DTimerError):
                getattr(place, name)(**{**good, argument: value})


@settings(max_examples=400, deadline=None)
@given(name=st.sampled_from([*ARGUMENTS, "url_or_client"]), value=VALUES)
@example(name="max_events", value="dtimer_")
def test_a_timer_is_made_or_the_argument_is_refused_by_its_name(name, value):
    arguments = {"url_or_client": "redis://127.0.0.1:1/0", **ARGUMENTS, name: value}
    refusal = None
    try:
        with DTimer(**arguments) as timer:
            assert "namespace" in repr(timer)
    except DTimerError as exc:
        refusal = exc
    if refusal is not None:
        assert (getattr(refusal, "argument", None) or refusal.setting) in (name, "queue")
        # An app's name for the argument is none of this caller's words; the value may have it in it.
        assert f"dtimer_{name}" not in str(refusal) or "dtimer_" in repr(value)
        str(refusal).encode()


@pytest.mark.parametrize("name", [*ARGUMENTS, "url_or_client"])
def test_each_odd_value_of_each_argument_makes_a_timer_or_is_refused(name):
    for value in ODD:
        with suppress(DTimerError):
            DTimer(**{"url_or_client": "redis://127.0.0.1:1/0", **ARGUMENTS, name: value}).close()


@settings(max_examples=200, deadline=None)
@given(value=VALUES)
def test_max_events_is_set_or_refused(value):
    with DTimer("redis://127.0.0.1:1/0", max_events=5) as timer:
        if isinstance(value, int) and not isinstance(value, bool):
            timer.max_events = value
            assert timer.max_events == (value if value >= 1 else 5)
        else:
            with pytest.raises(InvalidEventError, match="max_events must be a whole number from 1 on, got"):
                timer.max_events = value
            assert timer.max_events == 5


@pytest.mark.parametrize("value", [2.5, "3", True, False, None, math.nan, 1.0, Decimal(3), [3]], ids=repr)
def test_max_events_that_is_no_whole_number_is_refused_also_while_it_listens(timer, value):
    timer.on_event(timer.confirm)
    timer.join()
    with pytest.raises(InvalidEventError, match="max_events must be a whole number"):
        timer.max_events = value
    timer.post(b"p", 0, id="x")
    assert timer.max_events == 8
    assert timer.leave()
    timer.cancel("x")


@pytest.mark.parametrize("bounds", [{"duration": -1}, {"offset": -0.5}, {"offset": timedelta(-1)}], ids=repr)
def test_a_page_that_ends_before_it_begins_is_refused(timer, bounds):
    [argument] = bounds
    for ask in (timer.upcoming, timer.count):
        with pytest.raises(InvalidDelayError, match=f"{argument} must be 0 or more") as caught:
            ask(**bounds)
        assert caught.value.argument == argument


def test_each_of_many_posts_is_a_post_or_all_are_refused_and_nothing_is_stored(timer):
    for posts in (None, 5, "ab", Post(b"x", 1), [Post(b"x", 1), b"x"], [("x", 1)], iter([Post(b"x", 1), None])):
        with pytest.raises(InvalidEventError) as caught:
            timer.post_many(posts)
        assert caught.value.argument == "posts"
    assert timer.count().pending == 0


def test_an_error_of_the_callers_own_iterator_is_the_callers(timer):
    def posts():
        yield Post(b"x", 60)
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        timer.post_many(posts())
    assert timer.count().pending == 0


def test_a_delivery_of_a_shard_that_is_not_there_is_another_timers(timer):
    other = Delivery("x", b"", "default", 0, 0, 1, b"k", "t", shard=3)
    for settle in (timer.confirm, timer.release, timer.renew, timer.confirm_soon):
        with pytest.raises(InvalidEventError, match="another timer's"):
            settle(other)


def test_the_repr_says_where_and_whether_it_listens_and_has_no_password(timer, redis_url):
    secret = redis_url.replace("redis://", "redis://user:hunter2@")
    other = redis.Redis.from_url(secret)
    for place in (secret, f"{redis_url}?password=hunter2", other):
        text = repr(DTimer(place, namespace="alarm"))
        assert "hunter2" not in text
        assert "127.0.0.1" in text
        assert "'alarm', does not listen" in text
    other.close()
    timer.on_event(timer.confirm)
    timer.join()
    assert "listens as" in repr(timer)
    assert timer.leave()
