"""Thousands of tasks, three workers, and a SIGKILL every few seconds."""

import itertools
import random
import threading
import time
from collections import Counter

import pytest

CONCURRENCY = 2


class Killer:
    """Kills one of the workers after the other, and starts each again."""

    def __init__(self, workers, seconds):
        self.workers = workers
        self.seconds = seconds  # between two kills
        self.killed = []  # (worker's node name, instant)
        self.error = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self):
        try:
            for worker in itertools.cycle(self.workers):
                if self._stop.wait(self.seconds):
                    return
                self.killed.append((worker.hostname(), time.time()))
                worker.kill()
                worker.restart()
        except Exception as exc:  # noqa: BLE001 - raised again in the test's thread
            self.error = exc


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("tasks", "longest", "seconds"),
    [(2000, 10.0, 2.5), pytest.param(10_000, 20.0, 5.0, marks=pytest.mark.slow)],
    ids=["few", "many"],
)
def test_under_kills_every_task_that_had_not_started_runs_and_none_before_it_is_due(
    proj, start_worker, timer, wait_until_empty, tasks, longest, seconds
):
    workers = [
        start_worker(concurrency=CONCURRENCY, name=name, env={"CONFIRM_TIMEOUT": "3"}) for name in ("a", "b", "c")
    ]
    chance = random.Random(0)
    # Half of them are acknowledged when they start, as is Celery's default, and half when they have ended.
    early, late = set(), set()
    with Killer(workers, seconds) as killer:
        for number in range(tasks):
            delay = chance.uniform(0, longest)
            if number % 2:
                early.add(proj.note.post_in(delay).id)
            else:
                late.add(proj.shared.post_in(delay, number).id)
        wait_until_empty(120)
    wait_until_empty(30)

    rows = proj.records()
    runs = Counter(row["id"] for row in rows)
    kills = len(killer.killed)
    assert kills >= 2  # a busy machine takes its time to start workers again
    assert min(row["at"] - row["due"] for row in rows) >= 0, "a task ran before it was due"
    assert late <= set(runs), "a task that is acknowledged late was lost"
    # What is acknowledged as it starts, and whose process is killed before its first line, had started.
    lost = early - set(runs)
    started = "".join(worker.logs() for worker in workers)
    assert len(lost) <= kills * CONCURRENCY
    assert all(f"[{task_id}] received" in started for task_id in lost)
    repeated = {task_id: count for task_id, count in runs.items() if count > 1}
    # A kill finds no more tasks in a worker's hands than it may claim: its prefetch count.
    assert len(repeated) <= kills * CONCURRENCY * 4
    lateness = sorted(row["at"] - row["due"] for row in rows if not row["redelivered"])
    print(
        f"{len(rows)} runs of {tasks} tasks, {kills} kills, {len(repeated)} ran again, {len(lost)} had started when "
        f"they were killed; lateness p50 {lateness[len(lateness) // 2] * 1000:.1f} ms, "
        f"p99 {lateness[int(len(lateness) * 0.99)] * 1000:.1f} ms"
    )
