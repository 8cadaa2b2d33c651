"""What comes due in each of some intervals, by queue."""

from datetime import timedelta

import pytest
from seeds import FUTURE_MS, PAST_MS, event, seed

from celery_dtimer.errors import InvalidEventError
from celery_dtimer.timer.events import NewEvent
from celery_dtimer.timer.storing import shard

HOUR = 3600


@pytest.fixture
def post(store):
    """Store events of a queue that are due so many seconds from now."""

    def post(queue, *delays):
        events = [NewEvent(f"{queue} {delay}", b"p", "in", round(delay * 1000), 20, queue) for delay in delays]
        store.post(events)

    return post


def test_what_comes_due_is_counted_by_interval_and_queue(timer, post):
    post("mail", HOUR / 2, HOUR * 1.5, HOUR * 1.6, HOUR * 9)
    post("report", HOUR * 2.5)
    assert timer.forecast(HOUR, 3) == {"mail": [1, 2, 0], "report": [0, 0, 1]}
    assert timer.forecast(timedelta(hours=1), 2, timedelta(hours=1)) == {"mail": [2, 0], "report": [0, 1]}


def test_minutes_of_an_hour_are_the_default(timer, post):
    post("mail", 90)
    counts = timer.forecast()["mail"]
    assert (len(counts), counts[1], sum(counts)) == (60, 1, 1)


def test_what_is_due_already_and_what_is_leased_is_in_none(timer, store, claim):
    seed(store, event("x", PAST_MS), event("y", PAST_MS))
    claim(room=1)
    assert timer.forecast(HOUR, 2) == {"default": [0, 0]}
    assert timer.count(duration=0).pending == 1


def test_a_timer_that_holds_nothing_has_no_queues(timer):
    assert timer.forecast() == {}


def test_what_is_of_a_held_kind_is_counted_when_it_is_due(timer, store, claim):
    timer.hold(kind="letter")
    store.post([NewEvent("x", b"p", "in", 1_800_000, 20, "default", kind=b"letter")])
    assert claim(ahead_ms=HOUR * 1000) == []
    assert timer.forecast(HOUR, 2) == {"default": [1, 0]}
    timer.resume(kind="letter")


def test_many_queues_are_counted_in_bounded_calls(timer, store, post, monkeypatch):
    for number in range(7):
        post(f"queue-{number}", HOUR / 2)
    monkeypatch.setattr(shard, "MOST_COUNTS", 6)
    calls, ask = [], store.ask
    monkeypatch.setattr(type(store), "ask", lambda _, call, *more: calls.append(call) or ask(call, *more))
    assert timer.forecast(HOUR, 3) == {f"queue-{number}": [1, 0, 0] for number in range(7)}
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"step": 0}, "step must be"),
        ({"step": -1}, "step must be"),
        ({"step": float("nan")}, "step must be"),
        ({"step": 1e9}, "step must be"),
        ({"step": "minute"}, "step must be"),
        ({"intervals": 0}, "intervals must be a whole number from 1 to 1000, got 0"),
        ({"intervals": 1001}, "intervals must be a whole number from 1 to 1000, got 1001"),
        ({"intervals": 2.5}, "intervals must be"),
        ({"offset": -1}, "offset must be 0 or more"),
        ({"offset": FUTURE_MS / 1000, "step": 86_400 * 365, "intervals": 1000}, "the end of the last interval must be"),
        ({"step": 86_400 * 365, "intervals": 1000, "offset": 86_400 * 365 * 7500}, "the end of the last interval"),
    ],
)
def test_bad_intervals_are_refused_by_their_name(timer, arguments, named):
    if "the end" in named:
        arguments = {**arguments, "offset": 86_400 * 365 * 7500}
    with pytest.raises(InvalidEventError, match=named):
        timer.forecast(**arguments)
