"""Pages of what listeners hold, and of the pending events of one queue."""

import pytest

from celery_dtimer import InvalidEventError, State


def test_leased_events_are_listed_the_first_lease_to_lapse_first(timer, claim):
    for number, queue in enumerate(["a", "b", "a"]):
        timer.post(b"p", 0, id=f"event {number}", queue=queue)
    claim("b", lease_ms=5_000, ahead_ms=1000)
    claim("a", lease_ms=60_000, ahead_ms=1000)

    page = timer.leased()
    assert [info.id for info in page] == ["event 1", "event 0", "event 2"]
    assert {info.state for info in page} == {State.LEASED}
    assert page == [timer.peek(info.id) for info in page]
    assert [info.id for info in timer.leased(1, skip=1)] == ["event 0"]
    assert [info.id for info in timer.leased(queue="a")] == ["event 0", "event 2"]
    assert timer.leased(skip=3) == timer.leased(queue="empty") == []


def test_upcoming_may_be_of_one_queue(timer):
    for number, queue in enumerate(["a", "b", "a"]):
        timer.post(b"p", 60 + number, id=f"event {number}", queue=queue)
    assert [event.id for event in timer.upcoming(queue="a")] == ["event 0", "event 2"]
    assert [event.id for event in timer.upcoming(queue="a", skip=1)] == ["event 2"]
    assert timer.upcoming(queue="empty") == []


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": 1001}, {"skip": -1}, {"skip": 10_001}, {"queue": ""}])
def test_bounds_of_a_page_of_leased_events_are_refused(timer, wrong):
    with pytest.raises(InvalidEventError):
        timer.leased(**wrong)
