"""Tasks that keep their worker from renewing leases: they run again elsewhere, and not until they are parked."""

import pytest
from rig.waiting import wait_until

REMEDY = "raise that, or run the task in a prefork worker"


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_task_that_starves_its_worker_for_longer_than_its_lease_is_not_run_until_it_is_parked(
    proj, start_worker, timer, wait_until_empty, workers
):
    started = [start_worker(pool="threads", concurrency=4, env={"CONFIRM_TIMEOUT": "1"}) for _ in range(workers)]
    result = proj.starve.post((3.0,), delay=0, max_redeliveries=3)
    wait_until_empty(30)
    assert result.peek() is None
    starts = [row for row in proj.records() if row["event"] == "start"]
    assert len(starts) <= workers
    wait_until(lambda: sum(row["event"] == "end" for row in proj.records()) == len(starts), "all runs to end", 20)

    def lines():
        return [line for worker in started for line in worker.logs().splitlines() if REMEDY in line]

    # The last to end says it, if not both: one that claimed the event back while it ran has a lease again.
    wait_until(lambda: len(lines()) >= len(starts) - 1, "the remedy to be said")
    assert all(result.id in line for line in lines())
