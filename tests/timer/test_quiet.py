"""When a listener's rounds keep out of the way of deliveries."""

import pytest

from celery_dtimer.timer.listening.quiet import MOST, ROUND, SETTLE, Quiet

LEAD = 0.001


@pytest.fixture
def quiet():
    return Quiet(LEAD)


def test_rounds_are_made_at_once_where_no_other_thread_fires():
    quiet = Quiet(0.0)
    quiet.delivered(100.0)
    assert quiet.until(100.0, 100.0001) == 0.0


def test_no_round_begins_shortly_before_a_delivery_or_until_its_task_is_in_the_pool(quiet):
    assert quiet.until(100.0, 100.0 + 2 * ROUND) == 0.0
    assert quiet.until(100.0, 100.0 + ROUND / 2) == 100.0 + ROUND / 2
    quiet.delivered(100.0 + ROUND / 2)
    over = 100.0 + ROUND / 2 + LEAD + SETTLE
    assert quiet.until(100.001, None) == over
    assert quiet.until(over, None) == 0.0


def test_rounds_are_put_off_for_so_long_at_most_however_many_deliveries_there_are(quiet):
    now = 100.0
    while quiet.until(now, now + 0.0005):
        now += 0.0005
        quiet.delivered(now)
    assert now == pytest.approx(100.0 + MOST, abs=0.001)
    quiet.over()
    assert quiet.until(now, now + 0.0005)
