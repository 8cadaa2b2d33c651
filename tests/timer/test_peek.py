"""Peek says where an event is, and changes nothing."""

import pytest
from rig.keyspace import snapshot
from seeds import FUTURE_MS, PAST_MS, at, event, seed

from celery_dtimer.timer.events import EventInfo, State


def test_peek_of_a_pending_event(timer, store):
    seed(store, event("x", FUTURE_MS, payload=b"\x00", max_redeliveries=3, queue="other"))
    assert timer.peek("x") == EventInfo(
        id="x",
        state=State.PENDING,
        queue="other",
        due_at=at(FUTURE_MS),
        payload=b"\x00",
        redeliveries=0,
        max_redeliveries=3,
        holder=None,
        until=at(FUTURE_MS),
        reason=None,
        tags=(),
    )


def test_peek_of_a_leased_event(timer, store, claim, redis_client):
    seed(store, event("x"))
    (delivery,) = claim(holder="somebody")
    lapse_ms = int(redis_client.zscore("{dt:0}:lease:default", delivery.key))
    assert timer.peek("x") == EventInfo(
        id="x",
        state=State.LEASED,
        queue="default",
        due_at=at(PAST_MS),
        payload=b"payload",
        redeliveries=0,
        max_redeliveries=20,
        holder="somebody",
        until=at(lapse_ms),
        reason=None,
        tags=(),
    )


def test_peek_of_an_event_that_was_given_back(timer, store, claim, redis_client):
    seed(store, event("x"))
    (delivery,) = claim()
    timer.release(delivery, 60)
    again_ms = int(redis_client.zscore("{dt:0}:due:default", delivery.key))
    info = timer.peek("x")
    assert (info.state, info.due_at, info.until) == (State.PENDING, at(again_ms), at(again_ms))
    assert (info.redeliveries, info.holder) == (1, None)


def test_peek_of_a_parked_event(timer, store, claim, redis_client):
    seed(store, event("x"))
    store.ask(store.park("default", claim(), "no such task"))
    info = timer.peek("x")
    assert (info.state, info.reason, info.due_at) == (State.PARKED, "no such task", at(PAST_MS))
    assert (info.payload, info.holder) == (b"payload", None)


def test_peek_of_an_unknown_event_is_none(timer, store):
    seed(store, event("x"))
    assert timer.peek("y") is None


@pytest.mark.parametrize("end", ["confirm", "cancel", "deliver once"])
def test_peek_of_an_event_that_ended_is_none(timer, store, claim, end):
    seed(store, event("x", max_redeliveries=0 if end == "deliver once" else 1))
    if end == "cancel":
        timer.cancel("x")
    else:
        (delivery,) = claim()
    if end == "confirm":
        timer.confirm(delivery)
    assert timer.peek("x") is None


@pytest.mark.parametrize("state", ["unknown", "pending", "leased", "given back", "parked"])
def test_peek_changes_nothing(timer, store, claim, redis_client, state):
    seed(store, event("y"))
    if state != "unknown":
        seed(store, event("x", PAST_MS - 1))
    if state in {"leased", "given back", "parked"}:
        deliveries = claim(room=1)
    if state == "given back":
        timer.release(deliveries[0])
    if state == "parked":
        store.ask(store.park("default", deliveries, "why"))
    before = snapshot(redis_client)
    timer.peek("x")
    assert snapshot(redis_client) == before


def test_peek_of_an_instant_beyond_datetimes_says_the_last_one(timer, store):
    seed(store, event("x", 254_000_000_000_000))
    assert timer.peek("x").due_at.year == 9999


def test_what_is_printed_of_an_event_is_not_its_payload(timer, store):
    seed(store, event("x", FUTURE_MS, payload=b"secret"))
    assert "secret" not in f"{timer.peek('x')} {timer.upcoming()} {timer.cancel('x')}"
