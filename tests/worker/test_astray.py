"""Where calls of a task that the timer fired end up: its retries, what replaces it, and what bears its id."""

from pathlib import Path

import pytest
from rig.waiting import wait_until


@pytest.fixture
def app_file():
    return Path(__file__).parent / "apps" / "astray.py"


@pytest.fixture
def start_both(start_worker):
    """Starts a worker with the timer, and one of another queue that is not the timer's: no timer is installed there."""

    def start_both(pool="prefork", **env):
        start_worker("threads", queues="heavy", name="heavy", env={"WITHOUT_TIMER": "1"})
        return start_worker(pool, queues="celery,video,audit", name="front", env=env)

    return start_both


def rows_of(proj, how):
    return [row for row in proj.records() if row.get("how") == how]


def test_no_retry_of_a_fired_task_is_lost_whatever_the_timer_makes_of_it(proj, start_both, wait_until_empty):
    start_both()
    posted = {how: proj.retries.post((how,), delay=0.1, queue="video") for how in proj.RETRIES}
    assert all(result.get(timeout=20) == how for how, result in posted.items())
    wait_until_empty()
    in_the_timer = {how for how in proj.RETRIES if rows_of(proj, how)[-1]["queue"] is not None}
    assert in_the_timer >= {"countdown", "now", "eta", "eta as text", "to its own queue"}
    assert not in_the_timer & {"too large", "to heavy", "to heavy now", "by exchange and key"}
    for how in proj.RETRIES:
        first, *again = rows_of(proj, how)
        assert (first["retries"], first["queue"]) == (0, "video")
        # A topic that two queues are bound to runs in both, as natively; everything else once.
        assert [row["retries"] for row in again] == [1] * (2 if how == "by exchange and key" else 1), how
        assert {row["queue"] for row in again} <= {"video", None}, how


def test_under_takeover_a_retry_into_another_queue_waits_in_the_timer_if_it_waits_at_all(proj, start_both, timer):
    start_both(TAKEOVER="5")
    # Sooner than takeover says: the broker's, whose worker needs no timer.
    assert proj.retries.post_in(0.1, "to heavy").get(timeout=20) == "to heavy"
    assert proj.retries.post_in(0.1, "to heavy now").get(timeout=20) == "to heavy now"
    assert timer.count().pending == 0


@pytest.mark.parametrize(
    "how",
    [
        "replace by a chain",
        "same id",
        *(pytest.param(how, marks=pytest.mark.slow) for how in ("replace", "replace by a group", "replace later")),
    ],
)
def test_what_takes_a_fired_tasks_place_goes_where_celery_sends_it(proj, start_both, wait_until_empty, how):
    start_both("threads")
    result = proj.front.post_in(0.1, how)
    wait_until(lambda: len(rows_of(proj, how)) >= (3 if "by" in how else 2), "the other queue's worker to run it")
    if how.startswith("replace"):
        heavy = f"heavy {how}"
        assert result.get(timeout=20) == ([heavy, heavy] if "group" in how else heavy)
    wait_until_empty()
    assert [row["queue"] for row in rows_of(proj, how)][1:] == [None] * (2 if "by" in how else 1)
