"""Moving an event that waits: to another instant, and never out of nothing."""

import pytest
from rig.keyspace import contents, snapshot
from rig.waiting import wait_until
from seeds import FUTURE_MS, PAST_MS, at, event, seed


def test_a_change_moves_the_instant_and_nothing_else(timer, store, redis_client):
    seed(store, event("x", FUTURE_MS), event("y", FUTURE_MS))
    before = snapshot(redis_client)
    assert timer.change_eta("x", at(FUTURE_MS + 7))
    before["{dt:0}:due:default"][b"x"] = FUTURE_MS + 7
    assert snapshot(redis_client) == before


def test_a_change_to_an_earlier_instant_takes_the_promise_over_and_wakes_one_listener(timer, store, redis_client):
    seed(store, event("x", FUTURE_MS))
    redis_client.delete("{dt:0}:wake:default")
    assert timer.change_eta("x", at(FUTURE_MS - 1))
    assert contents(redis_client) == {
        "events": {"x": [20, "default", b"payload"]},
        "due:default": {"x": FUTURE_MS - 1},
        "promise": {"default": f"{FUTURE_MS - 1} "},
        "wake:default": ["1"],
    }


def test_a_changed_delay_counts_from_now_by_the_servers_clock(timer, store, now_ms):
    seed(store, event("x"))
    before = now_ms()
    assert timer.change_delay("x", 60)
    assert before + 60_000 <= timer.peek("x").due_at.timestamp() * 1000 <= now_ms() + 60_001


def test_a_change_to_the_past_makes_the_event_due_now(timer, store, claim):
    seed(store, event("x", FUTURE_MS), event("y", FUTURE_MS))
    assert timer.change_delay("x", -5)
    assert timer.change_eta("y", at(PAST_MS))
    found = [*claim(room=1), *wait_until(claim, "the event that was moved to now")]
    assert {delivery.id for delivery in found} == {"x", "y"}


@pytest.mark.parametrize("instant_ms", [-1, -5000, 0, 1])
def test_a_change_to_an_instant_before_1970_is_a_change(timer, store, claim, instant_ms):
    seed(store, event("x", FUTURE_MS))
    assert timer.change_eta("x", at(instant_ms))
    assert [delivery.id for delivery in claim()] == ["x"]


@pytest.mark.parametrize("state", ["unknown", "leased", "parked", "confirmed", "cancelled"])
def test_a_change_of_what_does_not_wait_is_refused_and_changes_nothing(timer, store, claim, redis_client, state):
    seed(store, event("y"))
    if state != "unknown":
        seed(store, event("x", PAST_MS - 1))
    match state:
        case "leased":
            claim(room=1)
        case "confirmed":
            timer.confirm(claim(room=1)[0])
        case "parked":
            store.ask(store.park("default", claim(room=1), "why"))
        case "cancelled":
            timer.cancel("x")
    before = snapshot(redis_client)
    assert not timer.change_delay("x", 60)
    assert not timer.change_eta("x", at(FUTURE_MS))
    assert snapshot(redis_client) == before


def test_a_change_moves_an_event_that_was_given_back_and_keeps_its_redeliveries(timer, store, claim):
    seed(store, event("x"))
    timer.release(claim()[0])
    assert timer.change_eta("x", at(FUTURE_MS))
    assert claim() == []
    assert timer.change_delay("x", 0)
    (delivery,) = wait_until(claim, "the moved event to be due")
    assert delivery.redeliveries == 1


def test_a_change_finds_the_event_in_its_queue(timer, store, redis_client):
    seed(store, event("x", FUTURE_MS, queue="other"))
    assert timer.change_eta("x", at(FUTURE_MS + 1))
    assert contents(redis_client)["due:other"] == {"x": FUTURE_MS + 1}
    assert "due:default" not in contents(redis_client)


def test_a_change_beside_a_delivery_moves_the_new_event_only(timer, store, claim):
    seed(store, event("x"))
    (old,) = claim()
    seed(store, event("x", payload=b"new"))
    assert timer.change_eta("x", at(FUTURE_MS))
    assert timer.confirm(old)
    assert timer.peek("x").payload == b"new"
    assert timer.peek("x").due_at == at(FUTURE_MS)
