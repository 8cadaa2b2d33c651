"""What is held, by its queue or its kind, is not claimed and wakes nobody, and is pending like all else."""

import pytest
from rig.keyspace import contents, finish, snapshot
from seeds import FUTURE_MS, PAST_MS, event, seed

from celery_dtimer.timer.connecting.steps import run
from celery_dtimer.timer.events import Counts, State


def ids(deliveries):
    return sorted(delivery.id for delivery in deliveries)


def promise(redis_client, queue="default"):
    return contents(redis_client)["promise"][queue].partition(" ")


def test_nothing_of_a_held_queue_is_claimed_until_it_is_resumed(store, claim, redis_client):
    seed(store, event("x"), event("y", queue="other"))
    store.hold("default")
    assert ids(claim("default", "other")) == ["y"]
    assert promise(redis_client) == ("-4503599627370496", " ", "held")
    store.resume("default")
    assert contents(redis_client)["wake:default"] == ["1"]
    assert ids(claim()) == ["x"]


def test_a_post_into_a_held_queue_wakes_nobody(store, claim, redis_client):
    seed(store, event("x"))
    store.hold("default")
    assert claim() == []
    seed(store, event("y", PAST_MS - 1))
    assert "wake:default" not in contents(redis_client)
    assert claim() == []


def test_a_lease_that_lapses_in_a_held_queue_is_not_claimed_again(store, claim):
    seed(store, event("x"))
    assert ids(claim(lease_ms=-1000)) == ["x"]
    store.hold("default")
    assert claim() == []
    store.resume("default")
    (again,) = claim()
    assert (again.id, again.redeliveries) == ("x", 1)


def test_a_held_queue_that_is_emptied_leaves_only_its_hold(store, claim, redis_client):
    seed(store, event("x"))
    store.hold("default")
    claim()
    assert store.cancel("x")
    assert set(contents(redis_client)) == {"holds", "hold_notes"}
    store.resume("default")
    assert snapshot(redis_client) == {}


def test_what_is_of_a_held_kind_is_set_aside_once_and_does_not_hide_the_rest(store, claim, redis_client):
    seed(store, *(event(f"a{i}", PAST_MS + i, kind="proj.a") for i in range(20)))
    seed(store, event("b", PAST_MS + 30, kind="proj.b"))
    assert store.hold_kind("proj.a")
    assert ids(claim(room=1)) == ["b"]
    assert min(score for score in contents(redis_client)["due:default"].values()) > FUTURE_MS
    assert claim() == []
    # The next instant that anybody has to do with is beyond all that is set aside, or the lapse of b's lease.
    assert int(promise(redis_client)[0]) > PAST_MS + 30
    assert run(store.count_steps()) == Counts(20, 1, 0)
    store.resume_kind("proj.a")
    assert ids(claim(room=100)) == sorted(f"a{i}" for i in range(20))
    assert "holds" not in contents(redis_client)


@pytest.fixture
def aside(store, claim):
    """Two events of a held kind that a claim has set aside."""
    seed(store, event("x", PAST_MS, kind="proj.a", payload=b"x"), event("y", PAST_MS + 1, kind="proj.a", payload=b"y"))
    store.hold_kind("proj.a")
    assert claim() == []
    return store


def test_what_is_set_aside_is_pending_at_its_own_instant(aside, timer):
    info = aside.peek("x")
    assert (info.state, info.due_at.timestamp() * 1000, info.payload) == (State.PENDING, PAST_MS, b"x")
    assert [(row.id, row.due_at.timestamp() * 1000, row.payload) for row in timer.upcoming(payloads=True)] == [
        ("x", PAST_MS, b"x"),
        ("y", PAST_MS + 1, b"y"),
    ]
    assert [row.id for row in timer.upcoming(skip=1)] == ["y"]
    assert timer.upcoming(offset=0) == []
    assert (timer.count().pending, timer.count(offset=0).pending, timer.count(duration=1).pending) == (2, 0, 2)


def test_what_is_set_aside_can_be_cancelled_moved_and_replaced(aside, claim):
    assert aside.cancel("x")
    assert aside.change("y", "at", PAST_MS + 5)
    assert claim() == []
    assert aside.post([event("y", PAST_MS + 6, kind="proj.a")]) == [-(PAST_MS + 5)]
    assert aside.post([event("y", PAST_MS + 6, kind="proj.a")], conflict="keep") == [PAST_MS + 5]
    assert aside.post([event("y", PAST_MS + 7, kind="proj.b")], conflict="replace") == [PAST_MS + 7]
    assert ids(claim()) == ["y"]


def test_what_is_given_back_or_lapses_while_its_kind_is_held_is_set_aside(store, claim):
    seed(store, event("x", kind="proj.a"), event("y", PAST_MS + 1, kind="proj.a"))
    (lapsed,) = claim(room=1, lease_ms=-1000)
    store.hold_kind("proj.a")
    assert claim() == []
    assert store.peek("x").state is State.PENDING
    store.resume_kind("proj.a")
    found = {delivery.id: delivery for delivery in claim()}
    assert (found["x"].redeliveries, found["y"].redeliveries) == (1, 0)
    assert lapsed.token != found["x"].token


def test_a_kind_that_is_resumed_wakes_somebody(aside, redis_client):
    aside.resume_kind("proj.a")
    assert contents(redis_client)["wake:default"] == ["1"]
    assert int(promise(redis_client)[0]) == PAST_MS


def test_more_than_one_batch_of_a_kind_is_resumed_and_another_stays_held(store, claim):
    for first in range(0, 1200, 400):
        events = [event(f"a{i}", PAST_MS + i, kind="proj.a") for i in range(first, first + 400)]
        store.post([*events, event(f"b{first}", kind="proj.b")])
    store.hold_kind("proj.a")
    store.hold_kind("proj.b")
    for _ in range(3):
        assert claim(room=256) == []
    store.resume_kind("proj.a")
    claimed = [delivery.id for _ in range(5) for delivery in claim(room=256)]
    assert len(claimed) == 1200
    assert not any(event_id.startswith("b") for event_id in claimed)
    assert run(store.count_steps()) == Counts(3, 1200, 0)


def test_as_many_kinds_are_held_as_there_are_bands(store, redis_client):
    assert all(store.hold_kind(f"kind{i}") for i in range(27))
    assert not store.hold_kind("one more")
    assert store.hold_kind("kind3")
    store.resume_kind("kind3")
    assert store.hold_kind("one more")
    assert len(set(contents(redis_client)["holds"].values())) == 27


def test_an_instant_at_either_end_of_the_years_comes_back_as_it_was(store, claim):
    first_ms, last_ms = 1, 253_402_300_799_999
    seed(store, event("first", first_ms, kind="proj.a"), event("last", last_ms, kind="proj.a"))
    for number in range(27):
        store.hold_kind("proj.a" if number == 0 else f"kind{number}")
    assert claim(ahead_ms=last_ms) == []
    assert store.change("first", "at", first_ms)
    assert store.change("last", "at", last_ms)
    assert claim(ahead_ms=last_ms) == []
    assert store.post([event("first"), event("last")]) == [-first_ms, -last_ms]
    store.resume_kind("proj.a")
    assert ids(claim(ahead_ms=last_ms)) == ["first", "last"]


def test_everything_that_is_held_can_be_ended(aside, redis_client):
    finish(aside, redis_client)
    aside.resume_kind("proj.a")
    assert snapshot(redis_client) == {}


def test_a_forecast_counts_by_queue_and_interval(store, claim):
    now_ms = store.read_claim(store.ask(store.claim((), listener="l", holder="h", nonce="n", room=0, lease_ms=1)), ())
    base_ms = int(now_ms.now * 1000)
    hour_ms = 3_600_000
    seed(store, event("past", kind="proj.a"))
    seed(store, *(event(f"x{i}", base_ms + i * hour_ms // 2 + hour_ms // 4) for i in range(6)))
    seed(store, event("y", base_ms + hour_ms + hour_ms // 2, queue="other"))
    expected = {"default": [2, 2, 2, 0], "other": [0, 1, 0, 0]}
    assert store.forecast(offset_ms=0, step_ms=hour_ms, intervals=4) == expected
    store.hold_kind("proj.a")
    assert claim() == []
    assert store.forecast(offset_ms=PAST_MS - base_ms - hour_ms, step_ms=2 * hour_ms, intervals=1)["default"] == [1]
