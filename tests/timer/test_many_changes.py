"""cancel_many and change_many: the answers of single calls, in few round trips; a failure has the answers so far."""

import pytest
from rig.keyspace import snapshot
from seeds import FUTURE_MS, PAST_MS, at, event, seed

from celery_dtimer import Answer, InvalidDelayError, InvalidEventError, Post, State


def test_the_answers_are_those_of_single_calls_in_order(timer, store, claim):
    seed(store, event("held", PAST_MS))
    claim(lease_ms=60_000)
    seed(store, event("a", FUTURE_MS, payload=b"mine"), event("b", FUTURE_MS))
    held, a, unknown, b, again = timer.cancel_many(["held", "a", "unknown", "b", "a"])
    assert (bool(held), held.state) == (False, State.LEASED)
    assert a == again == Answer(True, State.PENDING, at(FUTURE_MS), at(FUTURE_MS), "default", payload=b"mine")
    assert unknown == Answer()
    assert b
    assert timer.peek("a") is None


def test_a_change_moves_all_that_wait(timer, store):
    seed(store, event("a", FUTURE_MS), event("b", FUTURE_MS))
    answers = timer.change_many(iter(["a", "x", "b"]), eta=at(FUTURE_MS + 7))
    moved = Answer(True, State.PENDING, at(FUTURE_MS + 7), at(FUTURE_MS), "default")
    assert answers == [moved, Answer(), moved]
    assert all(timer.change_many(["a", "b"], 60))
    assert timer.count(duration=61).pending == 2


def test_a_thousand_events_of_several_queues_are_answered_in_order(timer):
    ids = [str(number) for number in range(1000)]
    timer.post_many([Post(b"p", 60, id=each, queue=f"q{int(each) % 3}") for each in ids])
    assert all(timer.change_many(ids, 90))
    assert [answer.queue for answer in timer.cancel_many(ids)] == [f"q{number % 3}" for number in range(1000)]
    assert timer.count().pending == 0


@pytest.mark.parametrize("ids", ["text", b"ids", None, 7, ["a", ""], ["a", 7], ["a", "x" * 201]])
def test_what_are_no_ids_is_refused_and_nothing_is_changed(timer, store, redis_client, ids):
    seed(store, event("a", FUTURE_MS))
    before = snapshot(redis_client)
    with pytest.raises(InvalidEventError):
        timer.cancel_many(ids)
    with pytest.raises(InvalidEventError):
        timer.change_many(ids, 60)
    assert snapshot(redis_client) == before


def test_a_change_needs_one_time(timer):
    for times in ({}, {"delay": 1, "eta": at(FUTURE_MS)}, {"delay": "soon"}):
        with pytest.raises(InvalidDelayError):
            timer.change_many(["a"], **times)
    assert timer.change_many([], 60) == timer.cancel_many([]) == []
