"""From a post to a confirmed run, in every pool that this suite knows, over brokers with and without a hub."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from rig.pools import POOLS
from rig.waiting import wait_until

from celery_dtimer import Cancellation, State, TimerResult


@pytest.fixture(params=POOLS)
def pool(request):
    return request.param


@pytest.fixture(params=["redis", "filesystem", "memory"])
def broker_transport(request):
    return request.param


def test_a_posted_task_runs_when_it_is_due_and_leaves_nothing(proj, start_worker, pool, wait_until_empty):
    result = proj.note.post_in(1.0, 1, "two", three=[3])
    assert isinstance(result, TimerResult)
    due_at = result.peek().due_at
    worker = start_worker(pool=pool)
    assert result.get(timeout=15) == [[1, "two"], {"three": [3]}]
    [row] = proj.records()
    assert row["at"] >= due_at.timestamp()
    assert row["due"] == due_at.timestamp()
    assert row["redeliveries"] == 0
    assert row["redelivered"] is False
    assert row["lateness"] >= 0
    assert row["worker"] == worker.hostname()
    wait_until_empty()
    assert result.peek() is None


class TestOnRedis:
    """What does not depend on the broker is shown over one of them."""

    @pytest.fixture(params=["redis"])
    def broker_transport(self, request):
        return request.param

    def test_a_task_of_dtimer_task_is_acknowledged_late_and_runs(self, proj, start_worker, pool, wait_until_empty):
        assert proj.shared.acks_late
        assert proj.shared.reject_on_worker_lost
        start_worker(pool=pool)
        assert proj.shared.post_at(datetime.now(UTC) + timedelta(seconds=0.5), "x").get(timeout=15) == "x"
        wait_until_empty()

    def test_a_retry_of_a_fired_task_goes_back_to_the_timer_and_leaves_nothing(
        self, proj, start_worker, pool, wait_until_empty
    ):
        start_worker(pool=pool)
        result = proj.stubborn.post((2, 3), delay=0.2, max_redeliveries=7)
        waiting = wait_until(
            lambda: (info := result.peek()) and info.state is State.PENDING and proj.records() and info,
            "the retry to be pending",
        )
        assert result.get(timeout=15) == 1
        first, second = proj.records()
        assert [first["retries"], second["retries"]] == [0, 1]
        assert first["id"] == second["id"] == result.id
        assert [first["max_redeliveries"], second["max_redeliveries"]] == [7, 7]
        assert second["at"] >= waiting.due_at.timestamp() >= first["at"] + 3
        wait_until_empty()

    def test_a_task_posts_another_from_within_a_worker(self, proj, start_worker, pool, wait_until_empty):
        start_worker(pool=pool)
        other = proj.chained.post_in(0.1, 0.5, "inner").get(timeout=15)
        assert proj.app.AsyncResult(other).get(timeout=15) == [["inner"], {}]
        wait_until_empty()

    def test_a_task_that_runs_three_times_as_long_as_the_confirm_timeout_runs_once(
        self, proj, start_worker, pool, wait_for_records, wait_until_empty
    ):
        # Two workers: the other one would take the event if its lease lapsed.
        for _ in range(2):
            start_worker(pool=pool, env={"CONFIRM_TIMEOUT": "1"})
        result = proj.nap.post_in(0.1, 3.5)
        wait_for_records(1)
        wait_until(lambda: (info := result.peek()) and info.state is State.LEASED, "the event to be leased")
        assert result.get(timeout=15) == 3.5
        wait_until_empty()
        assert [row["event"] for row in proj.records()] == ["start", "end"]

    def test_a_worker_leaves_the_events_of_other_queues_alone(self, proj, start_worker, pool, wait_until_empty):
        other = proj.note.post(("other",), delay=0.1, queue="other")
        mine = proj.note.post(("mine",), delay=0.3, queue="mine")
        start_worker(pool=pool, queues="mine,third")
        assert mine.get(timeout=15) == [["mine"], {}]
        assert other.peek().state is State.PENDING
        start_worker(pool=pool, queues="other")
        assert other.get(timeout=15) == [["other"], {}]
        wait_until_empty()

    def test_a_cancelled_task_does_not_run_and_a_moved_one_runs_at_its_new_time(
        self, proj, start_worker, pool, wait_until_empty
    ):
        start_worker(pool=pool)
        cancelled, moved = proj.note.post_in(1.0, "cancelled"), proj.note.post_in(600, "moved")
        assert cancelled.cancel() is Cancellation.CANCELLED
        assert moved.change_delay(1.0)
        due_at = moved.peek().due_at
        assert moved.get(timeout=15) == [["moved"], {}]
        assert not moved.cancel()
        wait_until_empty()
        [row] = proj.records()
        assert row["id"] == moved.id
        assert row["at"] >= due_at.timestamp()

    def test_a_fired_task_can_no_longer_be_cancelled_or_moved(
        self, proj, start_worker, pool, wait_for_records, wait_until_empty
    ):
        start_worker(pool=pool)
        result = proj.nap.post_in(0, 1.0)
        wait_for_records(1)
        assert result.cancel() is Cancellation.DELIVERED
        assert not result.change_delay(60)
        assert result.get(timeout=15) == 1.0
        wait_until_empty()

    def test_no_more_is_in_flight_than_max_events_allows(self, proj, start_worker, pool, timer, wait_for_records):
        for _ in range(12):
            proj.nap.post_in(0, 0.2)
        start_worker(pool=pool, concurrency=8, env={"MAX_EVENTS": "3"})
        most = 0
        end = time.monotonic() + 30
        while timer.count().pending or timer.count().leased:
            most = max(most, timer.count().leased)
            assert time.monotonic() < end
        assert 1 <= most <= 3
        assert len(wait_for_records(12, "end")) == 12

    def test_a_flood_of_tasks_all_run_once(self, proj, start_worker, pool, wait_for_records, wait_until_empty):
        results = [proj.note.post_in(0.0, n) for n in range(500)]
        start_worker(pool=pool)
        rows = wait_for_records(500, timeout=30)
        wait_until_empty()
        assert sorted(row["id"] for row in rows) == sorted(result.id for result in results)
