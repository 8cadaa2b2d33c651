"""What a cancel and a change say: where the event was at that instant, and whether that was changed."""

from datetime import datetime

import pytest
from rig.keyspace import snapshot
from seeds import FUTURE_MS, PAST_MS, at, event, seed

from celery_dtimer import Answer, State
from celery_dtimer.errors import InvalidDelayError

CHANGES = {
    "cancel": lambda timer, **condition: timer.cancel("x", **condition),
    "change_delay": lambda timer, **condition: timer.change_delay("x", 60, **condition),
    "change_eta": lambda timer, **condition: timer.change_eta("x", at(FUTURE_MS + 7), **condition),
    "run_now": lambda timer, **condition: timer.run_now("x", **condition),
}


@pytest.fixture(params=CHANGES)
def change(request, timer):
    """Each of the calls that change an event, of the event x."""
    return lambda **condition: CHANGES[request.param](timer, **condition)


def test_a_cancel_says_what_is_gone(timer, store):
    seed(store, event("x", FUTURE_MS, payload=b"mine", queue="other"))
    answer = timer.cancel("x")
    due_at = at(FUTURE_MS)
    assert answer == Answer(True, State.PENDING, due_at, due_at, "other", payload=b"mine")
    assert b"mine" not in repr(answer).encode()


def test_a_change_says_when_it_was_due_and_is_due(timer, store):
    seed(store, event("x", FUTURE_MS))
    answer = timer.change_eta("x", at(FUTURE_MS + 7))
    assert answer == Answer(True, State.PENDING, at(FUTURE_MS + 7), at(FUTURE_MS), "default")
    assert timer.run_now("x").due_at == timer.peek("x").due_at


def test_what_a_listener_has_is_named_with_its_holder_and_its_times(change, store, claim, redis_client, now_ms):
    seed(store, event("x", PAST_MS))
    before_ms = now_ms()
    claim(lease_ms=60_000)
    after_ms = now_ms()
    kept = snapshot(redis_client)
    answer = change()
    assert not answer
    assert (answer.state, answer.queue, answer.due_at) == (State.LEASED, "default", at(PAST_MS))
    assert answer.holder == store.peek("x").holder
    assert before_ms <= answer.since.timestamp() * 1000 <= after_ms
    assert answer.until == store.peek("x").until
    assert snapshot(redis_client) == kept


def test_a_lease_that_lapsed_is_said_to_be_cancelled_from_its_holder(timer, store, claim):
    seed(store, event("x"))
    claim(lease_ms=-1000)
    answer = timer.cancel("x")
    assert answer
    assert answer.state is State.LEASED
    assert answer.until < datetime.now(answer.until.tzinfo)
    assert answer.payload == b"payload"


def test_what_is_parked_is_named_with_its_reason(change, timer, store, claim, now_ms):
    seed(store, event("x", PAST_MS))
    store.ask(store.park("default", claim(), "out of order"))
    answer = change()
    assert (answer.state, answer.reason, answer.due_at) == (State.PARKED, "out of order", at(PAST_MS))
    assert 0 <= now_ms() - answer.since.timestamp() * 1000 < 10_000
    # A cancel ends it, and nothing else moves it.
    assert bool(answer) is (timer.peek("x") is None)
    assert answer.payload == (b"payload" if answer else None)


def test_what_is_unknown_is_said_to_be(change):
    assert change() == Answer()
    assert Answer().state is None


def test_an_event_that_was_given_back_waits_again(change, timer, store, claim):
    seed(store, event("x"))
    timer.release(claim()[0], 60)
    answer = change()
    assert answer
    assert answer.state is State.PENDING
    assert answer.was_due_at > at(PAST_MS)


def test_a_change_for_another_due_time_is_not_made(change, store, redis_client):
    seed(store, event("x", FUTURE_MS))
    before = snapshot(redis_client)
    for other_ms in (FUTURE_MS - 1, FUTURE_MS + 1, 1):
        answer = change(if_due_at=at(other_ms))
        assert answer == Answer(False, State.PENDING, at(FUTURE_MS), at(FUTURE_MS), "default")
    assert snapshot(redis_client) == before
    assert change(if_due_at=at(FUTURE_MS))


def test_of_two_who_saw_the_same_time_one_changes_it(timer, store):
    seed(store, event("x", FUTURE_MS))
    seen = timer.peek("x").due_at
    first = timer.change_delay("x", 3600, if_due_at=seen)
    assert not timer.cancel("x", if_due_at=seen)
    assert timer.change_delay("x", 7200, if_due_at=first.due_at)


def test_what_is_parked_is_cancelled_only_if_it_was_due_then(timer, store, claim):
    seed(store, event("x", PAST_MS))
    store.ask(store.park("default", claim(), "why"))
    assert timer.cancel("x", if_due_at=at(PAST_MS + 1)).state is State.PARKED
    assert timer.cancel("x", if_due_at=at(PAST_MS))


def test_what_is_to_run_now_is_claimed_with_what_is_due(timer, store, claim):
    seed(store, event("x", FUTURE_MS), event("y", FUTURE_MS))
    assert timer.run_now("x")
    assert [delivery.id for delivery in claim(ahead_ms=5)] == ["x"]


@pytest.mark.parametrize("instant", [at(FUTURE_MS).replace(tzinfo=None), "2100-01-01", 5, b""], ids=repr)
def test_a_condition_that_is_no_instant_is_refused_by_its_name(change, store, redis_client, instant):
    seed(store, event("x", FUTURE_MS))
    before = snapshot(redis_client)
    with pytest.raises(InvalidDelayError, match="if_due_at") as caught:
        change(if_due_at=instant)
    assert caught.value.argument == "if_due_at"
    assert snapshot(redis_client) == before


def test_a_change_takes_one_call_wherever_the_event_is(change, store, claim, monkeypatch):
    calls, run_all = [], store.run_all_steps
    seed(store, event("x", FUTURE_MS))
    monkeypatch.setattr(
        type(store), "run_all_steps", lambda _, *some, **more: calls.append(some) or run_all(*some, **more)
    )
    assert change(if_due_at=at(FUTURE_MS))
    assert len(calls) == 1


def test_an_answer_is_fit_for_json(timer, store):
    seed(store, event("x", FUTURE_MS))
    assert timer.cancel("x").as_dict() == {
        "id": "x",
        "done": True,
        "state": "pending",
        "due_at": at(FUTURE_MS).isoformat(),
        "was_due_at": at(FUTURE_MS).isoformat(),
        "queue": "default",
        "holder": None,
        "since": None,
        "until": None,
        "reason": None,
    }
