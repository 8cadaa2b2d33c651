"""The core of it, for every broker: a test module makes a subclass, and says which brokers and pools it is for."""

import time
from datetime import UTC, datetime, timedelta

from celery_dtimer import State, TimerResult
from rig.waiting import wait_until

CONFIRM_TIMEOUT = 2.0  # seconds
ATTENTION = 2.5  # seconds: a claim at least each second, and what a run and a busy machine take


class MainPath:
    """From a post to a confirmed run. Needs a fixture ``pool``, as all of these do."""

    def test_a_posted_task_runs_when_it_is_due_and_leaves_nothing(self, proj, start_worker, pool, wait_until_empty):
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


class CoreSuite(MainPath):
    """That, retries, queues, leases, cancelling, and what happens when a worker ends."""

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
        assert proj.app.AsyncResult(other).get(timeout=15) == "inner"
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
        assert cancelled.cancel()
        assert moved.change_delay(1.0)
        due_at = moved.peek().due_at
        assert moved.get(timeout=15) == [["moved"], {}]
        assert not moved.cancel()
        wait_until_empty()
        [row] = proj.records()
        assert row["id"] == moved.id
        assert row["at"] >= due_at.timestamp()

    def test_a_warm_shutdown_finishes_what_runs_and_releases_the_rest_at_once(
        self, proj, start_worker, pool, broker_transport, timer, wait_for_records, wait_until_empty
    ):
        # The leases would last for minutes: what the second worker runs soon was released, not lapsed.
        environment = {"CONFIRM_TIMEOUT": "300"}
        for _ in range(8):
            proj.nap.post_in(0, 1.0)
        first = start_worker(pool=pool, concurrency=2, env=environment)
        wait_for_records(1)
        wait_until(lambda: timer.count().leased > 2, "more to be claimed than runs")
        first.term()
        assert first.wait() == 0
        ended = [row["id"] for row in proj.records() if row["event"] == "end"]
        started = [row["id"] for row in proj.records() if row["event"] == "start"]
        assert sorted(ended) == sorted(started)
        if pool != "threads" and broker_transport != "filesystem":
            # Celery's threads pool cancels what it has queued from 5.7 on only; before, it runs that to its end. So
            # does prefork beside a broker without a hub.
            assert len(ended) < 8
        assert timer.count().pending + timer.count().leased == 8 - len(ended)
        start_worker(pool=pool, concurrency=2, env=environment)
        rows = wait_for_records(8, "end", timeout=30)
        assert len({row["id"] for row in rows}) == len(rows) == 8
        wait_until_empty()

    def test_a_task_of_a_killed_worker_runs_elsewhere_within_the_confirm_timeout(
        self, proj, start_worker, pool, wait_for_records, wait_until_empty
    ):
        environment = {"CONFIRM_TIMEOUT": str(CONFIRM_TIMEOUT)}
        heir = start_worker(pool=pool, env=environment, name="heir")
        heir.pause()
        doomed = start_worker(pool=pool, env=environment, name="doomed")
        result = proj.nap.post_in(0, 1.5)
        wait_for_records(1)
        heir.resume()
        doomed.kill()
        killed = time.time()
        assert result.get(timeout=20) == 1.5
        first, second = [row for row in proj.records() if row["event"] == "start"]
        assert first["worker"].startswith("doomed")
        assert second["worker"].startswith("heir")
        assert second["redelivered"] is True
        assert second["redeliveries"] == 1
        assert second["at"] <= killed + CONFIRM_TIMEOUT + 1.0
        wait_until_empty()


class QueuesAtRunTime:
    """Queues that a worker is told to consume, or not to, by remote control."""

    def test_a_queue_that_is_added_at_run_time_is_fired_for_within_two_seconds(
        self, proj, start_worker, pool, wait_until_empty
    ):
        worker = start_worker(pool=pool)
        added = proj.note.post(("added",), delay=0, queue="added")
        # Both the claim and the wake list follow: one event waits, the other comes due a second after the claim.
        tell(proj.app, "add_consumer", "added", worker)
        assert added.get(timeout=ATTENTION) == [["added"], {}]
        later = proj.note.post(("later",), delay=0.3, queue="added")
        assert later.get(timeout=ATTENTION) == [["later"], {}]
        wait_until_empty()

    def test_a_queue_that_is_cancelled_at_run_time_is_left_alone_within_two_seconds(
        self, proj, start_worker, pool, wait_until_empty
    ):
        worker = start_worker(pool=pool, queues="celery,dropped")
        assert proj.note.post(("before",), delay=0, queue="dropped").get(timeout=15)
        tell(proj.app, "cancel_consumer", "dropped", worker)
        wait_until(lambda: queues_of(proj.app, worker) == ["celery"], "the listener to follow", ATTENTION)
        left = proj.note.post(("left",), delay=0.1, queue="dropped")
        assert proj.note.post_in(1.5, "kept").get(timeout=15) == [["kept"], {}]
        assert left.peek().state is State.PENDING
        start_worker(pool=pool, queues="dropped", name="heir")
        assert left.get(timeout=15) == [["left"], {}]
        wait_until_empty()


def tell(app, command, queue, worker):
    """Send a remote control command, and wait until the worker has obeyed."""
    [answer] = app.control.broadcast(
        command, arguments={"queue": queue}, destination=[worker.hostname()], reply=True, timeout=20, limit=1
    )
    assert "ok" in answer[worker.hostname()]


def queues_of(app, worker):
    """The queues that the worker's listener claims for."""
    stats = app.control.inspect(destination=[worker.hostname()], timeout=20, limit=1).stats()
    return stats[worker.hostname()]["dtimer"]["queues"]
