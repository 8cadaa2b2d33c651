"""Workers whose pools grow, shrink, restart and replace their processes."""

from pathlib import Path

import pytest
from rig.pools import pools
from rig.waiting import wait_until
from rig.workers import QUICK_START

GROWING = ("prefork", "gevent", "eventlet")
MULTIPLIER = 4  # Celery's default of worker_prefetch_multiplier


@pytest.fixture(params=pools("prefork"))
def pool(request):
    return request.param


@pytest.fixture
def app_file():
    return Path(__file__).parent / "apps" / "outcomes.py"


@pytest.fixture
def max_events(proj):
    """What a worker says that it fires at a time."""

    def ask():
        [stats] = proj.app.control.inspect(timeout=5, limit=1).stats().values()
        return stats["dtimer"]["max_events"]

    return ask


@pytest.fixture
def runs(proj, timer):
    """Post so many tasks, wait until all is over, and return how often each ran."""

    def post(count, seconds, meanwhile=lambda: None):
        results = [proj.TASKS["late"].post_in(0, "spin", seconds) for _ in range(count)]
        wait_until(proj.records, "the first to run")
        meanwhile()
        wait_until(lambda: all(result.peek() is None for result in results), "all to be confirmed", 40)
        starts = [row["id"] for row in proj.records() if row["event"] == "start"]
        return [starts.count(result.id) for result in results]

    return post


def test_a_worker_claims_as_much_as_its_pool_may_prefetch_also_when_it_grows(proj, start_worker, pool, max_events):
    start_worker(pool=pool, concurrency=2)
    size = 1 if pool == "solo" else 2
    assert max_events() == size * MULTIPLIER
    [reply] = proj.app.control.pool_grow(2, reply=True, timeout=5, limit=1)
    if pool in GROWING:
        wait_until(lambda: max_events() == 4 * MULTIPLIER, "the larger pool's capacity")
        proj.app.control.pool_shrink(2, reply=True, timeout=5, limit=1)
        wait_until(lambda: max_events() == 2 * MULTIPLIER, "the smaller pool's capacity")
    else:
        # Celery's threads and solo pools can't grow.
        assert "AttributeError" in str(reply)
        assert max_events() == size * MULTIPLIER


def test_an_autoscaled_worker_claims_as_much_as_its_largest_pool(
    proj, start_worker, pool, max_events, runs, expected_keys
):
    worker = start_worker(pool=pool, arguments=(*QUICK_START, "--autoscale=3,1"))
    assert max_events() == 3 * MULTIPLIER
    if pool == "threads":
        # Celery fails to grow this pool, at the arrival of a task: from the broker, that ends the worker.
        expected_keys.append("{dt:tasks:0}:*")
        results = [proj.TASKS["late"].post_in(0, "spin", 0.3) for _ in range(12)]
        worker.wait_for_log("could not be fired", timeout=10)
        wait_until(proj.records, "one to run")
        assert worker.running
        assert any(result.peek() is not None for result in results)
        return
    assert runs(12, 0.3) == [1] * 12
    assert worker.running
    if pool == "prefork":
        proj.app.control.autoscale(5, 1, reply=True, timeout=5, limit=1)
        wait_until(lambda: max_events() == 5 * MULTIPLIER, "the new capacity")


@pytest.mark.slow
def test_processes_that_end_after_one_task_run_each_task_once(start_worker, pool, runs):
    # Pools without processes take no notice.
    start_worker(pool=pool, concurrency=2, arguments=(*QUICK_START, "--max-tasks-per-child=1"))
    assert runs(20, 0) == [1] * 20


def test_a_pool_restart_loses_no_task(proj, start_worker, pool, runs):
    start_worker(pool=pool, concurrency=2)

    def restart():
        [reply] = proj.app.control.pool_restart(reply=True, timeout=10, limit=1)
        assert "reload started" in str(reply)

    assert runs(8, 0.5, restart) == [1] * 8
