"""A catch-up limit: what is long overdue is claimed at a rate, by all listeners together, and after what is due."""

import itertools
import threading
import time

import pytest
from rig.keyspace import contents, snapshot
from rig.waiting import wait_until
from seeds import PAST_MS, event, seed

from celery_dtimer import DTimer, InvalidEventError
from celery_dtimer.timer.storing.limiting import limit_value

#: Expires within seconds, which are more than a test waits for.
BUCKET = "{*}:bucket"


@pytest.fixture
def expected_keys():
    return [BUCKET]


@pytest.fixture
def overdue(store):
    """Stores so many long overdue events of a queue, the first the oldest."""

    def overdue(count, queue="default", **options):
        for first in range(0, count, 400):
            numbers = range(first, min(count, first + 400))
            store.post([event(f"{queue}{i:05}", PAST_MS + i, queue=queue, **options) for i in numbers])

    return overdue


@pytest.fixture
def fill(redis_client, store):
    """Lets the bucket be as if so many seconds had passed without a claim, for a number of sharers."""

    def fill(seconds, sharers=1):
        now_s, now_us = redis_client.time()
        spent_us = now_s * 1_000_000 + now_us - round(seconds * 1e6)
        until_ms = now_s * 1000 + 4000
        redis_client.set(store.keys.prefix + "bucket", f"{spent_us}.000 {sharers} {until_ms}", px=60_000)

    return fill


def claimed(deliveries):
    return [delivery.id for delivery in deliveries]


def test_what_is_long_overdue_is_claimed_as_far_as_the_bucket_is_filled(store, claim, overdue, fill):
    overdue(500)
    store.limit(limit_value(100, 10), "me", "")
    assert len(claim()) <= 10  # the first claim finds an empty bucket
    fill(0.3)
    found = claimed(claim())
    assert 30 <= len(found) < 50
    assert found == sorted(found)
    fill(3600)
    assert 50 <= len(claim()) < 70  # half a second of the rate is kept, not an hour


def test_a_rate_below_one_a_second_lets_one_event_through_after_its_time(store, claim, overdue, fill):
    overdue(5)
    store.limit(limit_value(0.01, 10), "me", "")
    assert claim() == []
    fill(99)
    assert claim() == []
    fill(1000)
    assert claimed(claim()) == ["default00000"]
    assert claim() == []


def test_what_is_due_now_is_claimed_before_what_is_long_overdue_and_without_the_bucket(store, claim, overdue, now_ms):
    overdue(50)
    store.limit(limit_value(0.01, 10), "me", "")
    seed(store, event("new", now_ms()), event("late", now_ms() - 9000), event("other", now_ms(), queue="other"))
    assert claimed(claim("default", "other")) == ["late", "new", "other"]
    assert claim("default", "other") == []


def test_new_events_of_every_queue_go_before_the_backlog_of_the_first(store, claim, overdue, fill, now_ms):
    overdue(50)
    store.limit(limit_value(1000, 10), "me", "")
    seed(store, event("other", now_ms(), queue="other"))
    fill(0.5)
    assert claimed(claim("default", "other", room=3)) == ["other", "default00000", "default00001"]


def test_a_lapse_and_a_release_are_redelivered_at_once(store, claim, overdue, fill):
    overdue(3)
    store.limit(limit_value(0.01, 10), "me", "")
    fill(1000)
    (lapsed,) = claim(lease_ms=-1000)
    (again,) = claim()
    assert (again.id, again.redeliveries) == (lapsed.id, 1)
    assert list(store.ask(store.release("default", [again], counted=True))) == [1]
    # A release is due from now on.
    wait_until(lambda: claimed(claim()) == [lapsed.id], "the release to be claimed")


def test_run_now_and_a_replay_of_what_is_long_overdue_go_at_once(store, claim, overdue, timer, redis_client):
    overdue(3)
    store.limit(limit_value(0.01, 10), "me", "")
    assert timer.run_now("default00001")
    wait_until(lambda: claimed(claim()) == ["default00001"], "the event to be claimed")
    assert claim() == []


def test_the_setting_of_a_listener_counts_unless_a_limit_is_stored(store, claim, overdue, fill):
    overdue(200)
    fill(0.5)
    assert 5 <= len(claim(room=200, limit=(10_000, 10_000))) < 15
    store.limit(limit_value(100, 10), "me", "")
    fill(0.5)
    assert 50 <= len(claim(room=200, limit=(10_000, 10_000))) < 70
    store.limit(limit_value(None, 10), "me", "")
    assert len(claim(room=50, limit=(10_000, 10_000))) == 50
    store.limit("", "", "")
    assert len(claim(room=200, limit=(10_000, 10_000))) < 20
    assert len(claim(room=200)) > 50


def test_a_stored_limit_that_can_not_be_read_is_as_none(store, claim, overdue, redis_client):
    overdue(20)
    redis_client.hset(store.keys.prefix + "holds", "catch_up", "garbage")
    redis_client.set(store.keys.prefix + "bucket", b"\xff garbage", px=5000)
    assert claim(limit=(1, 10_000)) == []
    assert len(claim()) == 20


def test_shards_that_share_the_rate_get_a_part_each_and_the_largest_number_counts(store, claim, overdue, fill):
    overdue(500)
    store.limit(limit_value(400, 10), "me", "")
    fill(0.5)
    assert 50 <= len(claim(room=400, sharers=4)) < 70
    fill(0.5, sharers=4)
    assert 50 <= len(claim(room=400, sharers=1)) < 70  # a listener that knows less does not undo it
    fill(0.5)
    assert 200 <= len(claim(room=400, sharers=1)) < 230


def test_a_shard_shares_the_rate_unless_nothing_is_held_back_there(store, claim, overdue, redis_client):
    def shares(**limits):
        call = store.claim(["default"], listener="l", holder="h", nonce="n", room=0, lease_ms=1000, **limits)
        return store.read_claim(store.ask(call), ["default"]).shares

    assert shares()
    assert not shares(limit=(1000, 10_000))
    overdue(3)
    assert shares(limit=(1000, 10_000))
    assert all(store.cancel(f"default0000{i}") for i in range(3))
    assert shares(limit=(1000, 10_000))  # for some seconds still
    redis_client.delete(store.keys.prefix + "bucket")
    assert not shares(limit=(1000, 10_000))


def test_a_claim_says_when_to_come_back_and_promises_it(store, overdue, now_ms, redis_client):
    overdue(3)
    call = store.claim(
        ["default"], listener="l", holder="h", nonce="n", room=5, lease_ms=1000, limit=(500, 10_000), ahead_ms=10
    )
    read = store.read_claim(store.ask(call), ["default"])
    assert 1.9 < read.wait < 2.1
    instant_ms, by = contents(redis_client)["promise"]["default"].split()
    assert by == "l"
    assert now_ms() + 1000 < int(instant_ms) < now_ms() + 2200
    assert "wake:default" not in contents(redis_client)


def test_an_event_that_is_not_overdue_yet_is_promised_before_the_bucket_is_filled(store, overdue, now_ms):
    overdue(3)
    seed(store, event("soon", now_ms() + 30_000))
    call = store.claim(["default"], listener="l", holder="h", nonce="n", room=5, lease_ms=1000, limit=(1, 10_000))
    assert 25 < store.read_claim(store.ask(call), ["default"]).wait < 31


def test_a_held_queue_and_a_held_kind_stay_held(store, claim, overdue, fill):
    overdue(5, kind="proj.a")
    seed(store, event("b", PAST_MS + 100, kind="proj.b"), event("c", queue="other"))
    store.limit(limit_value(100, 10), "me", "")
    store.hold_kind("proj.a")
    store.hold("other")
    fill(0.5)
    assert claimed(claim("default", "other")) == ["b"]
    store.resume_kind("proj.a")
    store.resume("other")
    fill(0.5)
    assert len(claim("default", "other")) == 6


def test_limits_can_be_read_replaced_and_forgotten(timer, redis_client):
    assert timer.catch_up_limit() is None
    assert not timer.forget_catch_up_limit()
    assert timer.limit_catch_up(500, why="the database is slow", by="ann")
    found = timer.catch_up_limit()
    assert (found.rate, found.after, found.by, found.why) == (500.0, 10.0, "ann", "the database is slow")
    assert abs(found.since.timestamp() - time.time()) < 60
    assert found.complete
    assert not timer.limit_catch_up(None, after=60)
    assert (timer.catch_up_limit().rate, timer.catch_up_limit().after, timer.catch_up_limit().why) == (None, 60.0, "")
    assert timer.holds() == []
    assert timer.forget_catch_up_limit()
    assert snapshot(redis_client) == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"rate": 0}, "rate must be a number of events a second, 0.001 to 1e+06, or None, got 0"),
        ({"rate": "fast"}, "rate must be a number of events a second"),
        ({"rate": True}, "rate must be a number of events a second"),
        ({"rate": 5, "after": 0.5}, "after must be a finite number of seconds or a timedelta, 1 s to"),
        ({"rate": 5, "why": "x" * 1001}, "why must be a string of 0 to 1000 bytes"),
        ({"rate": 5, "by": "a\nb"}, "by must be one line"),
    ],
)
def test_a_wrong_limit_is_refused_and_nothing_is_stored(timer, arguments, said):
    with pytest.raises(InvalidEventError, match=said.replace("+", r"\+")):
        timer.limit_catch_up(**arguments)
    assert timer.catch_up_limit() is None


def test_a_wrong_argument_of_a_timer_is_refused(redis_url):
    with pytest.raises(InvalidEventError, match="catch_up_rate must be a number of events a second"):
        DTimer(redis_url, catch_up_rate=0)
    with pytest.raises(InvalidEventError, match="catch_up_after must be a finite number of seconds"):
        DTimer(redis_url, catch_up_after=0)


class Listening:
    """Listeners that confirm all, and when each event was handed over."""

    def __init__(self, url, count, **options):
        self.lateness = {}
        self.count = itertools.count(1)
        self.caught_up = 0
        self._lock = threading.Lock()
        self.timers = [DTimer(url, **options) for _ in range(count)]
        for timer in self.timers:
            timer.on_event(lambda delivery, timer=timer: self._on_event(timer, delivery))

    def _on_event(self, timer, delivery):
        with self._lock:
            if delivery.id.startswith("new"):
                self.lateness[delivery.id] = time.time() - delivery.due_ms / 1000
            else:
                self.caught_up += 1
        timer.confirm_soon(delivery)

    def __enter__(self):
        for timer in self.timers:
            timer.join()
        return self

    def __exit__(self, *_):
        for timer in self.timers:
            timer.close()


@pytest.mark.parametrize(("listeners", "shards"), [(1, 1), (3, 3)])
def test_listeners_together_keep_to_the_rate_and_new_events_do_not_wait(redis_url, redis_client, listeners, shards):
    queues = ("one", "two")
    with DTimer(redis_url, shards=shards, queues=queues) as timer:
        for store in timer.shards:
            for queue in queues:
                names = (f"{store.keys.shard}{queue}{i}" for i in range(400))
                store.post([event(name, PAST_MS, queue=queue) for name in names])
        with Listening(redis_url, listeners, shards=shards, queues=queues, catch_up_rate=200) as listening:
            wait_until(lambda: listening.caught_up, "the first")
            start, before = time.monotonic(), listening.caught_up
            for number in range(20):
                timer.post(b"", 0.1, id=f"new{number}", queue=queues[number % 2])
                time.sleep(0.05)
            wait_until(lambda: len(listening.lateness) == 20, "all that was due meanwhile")
            wait_until(lambda: listening.caught_up - before >= 300, "what is overdue")
            # Never more than the rate, but for what each shard had kept of half a second.
            assert listening.caught_up - before <= (time.monotonic() - start) * 200 * 1.05 + 110
            timer.limit_catch_up(None)
            wait_until(lambda: timer.count().pending == 0, "the rest, at once")
        timer.forget_catch_up_limit()
