"""What waits for a slot waits where there is one: not behind a long task while another worker is idle."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from rig.pools import pools
from rig.waiting import wait_until

ONE_SECOND = 1.0  # seconds, in which all that is short has started
NAMES = ("first", "second")


@pytest.fixture(params=pools("prefork"))
def pool(request):
    return request.param


@pytest.fixture
def two_workers(start_worker, pool):
    """Each with one slot, and with a queue of its own beside the common one."""
    return [start_worker(pool=pool, concurrency=1, queues=f"celery,{name}", name=name) for name in NAMES]


@pytest.fixture
def starts(proj):
    """{id: row} of the tasks that have started, as soon as there are so many."""

    def read(count):
        def enough():
            rows = {row["id"]: row for row in proj.records() if row["event"] == "start"}
            return rows if len(rows) >= count else None

        return wait_until(enough, f"{count} tasks to start", 25)

    return read


def soon(seconds=1.0):
    return datetime.now(UTC) + timedelta(seconds=seconds)


def lateness(rows, results, eta):
    return [rows[result.id]["at"] - eta.timestamp() for result in results]


@pytest.mark.usefixtures("two_workers")
def test_short_tasks_do_not_wait_for_long_ones_that_are_due_with_them(proj, starts, wait_until_empty):
    for name in NAMES:
        # Let each worker run both once: what they took lately is what it goes by.
        proj.early_nap.post((0.01,), delay=0, queue=name)
        assert proj.nap.post((0.5,), delay=0, queue=name).get(timeout=15)
    wait_until_empty()
    eta = soon(1.5)
    calls = [(proj.nap, 5.0)] * 2 + [(proj.early_nap, 0.01)] * 18
    random.shuffle(calls)
    results = [(task, task.post_at(eta, seconds)) for task, seconds in calls]
    rows = starts(4 + 20)
    assert max(lateness(rows, [result for task, result in results if task is not proj.nap], eta)) < ONE_SECOND
    wait_until_empty(20)


@pytest.mark.slow
@pytest.mark.usefixtures("two_workers")
def test_a_worker_that_is_used_to_short_tasks_does_not_keep_long_ones_from_another(proj, starts, wait_until_empty):
    # Many at a time, so that each worker fetches more than it would prefetch.
    eta = soon(2.0)
    short = [proj.note.post((number,), eta=eta, queue=name) for number in range(150) for name in NAMES]
    short += [proj.note.post_at(eta, number) for number in range(100)]
    long = [proj.nap.post_at(eta + timedelta(milliseconds=1), 1.0) for _ in range(6)]
    rows = starts(len(short) + len(long))
    workers = [rows[result.id]["worker"] for result in long]
    assert min(workers.count(worker) for worker in set(workers)) >= 2
    assert len(set(workers)) == len(NAMES)
    wait_until_empty(20)


@pytest.mark.parametrize(
    "gap", [0.005, pytest.param(0.2, marks=pytest.mark.slow)], ids=["claimed with it", "due while it runs"]
)
@pytest.mark.usefixtures("two_workers")
def test_what_comes_after_a_long_task_runs_in_the_idle_worker(proj, starts, wait_until_empty, gap):
    # Nothing has run here before, so that nobody knows how long it takes.
    eta = soon()
    long = proj.nap.post_at(eta, 4.0)
    later = eta + timedelta(seconds=gap)
    results = [proj.note.post_at(later, number) for number in range(6)]
    rows = starts(7)
    assert max(lateness(rows, results, later)) < ONE_SECOND
    assert {rows[result.id]["worker"] for result in results}.isdisjoint({rows[long.id]["worker"]})
    assert not any(rows[result.id]["redelivered"] for result in results)
    wait_until_empty()


@pytest.mark.usefixtures("two_workers")
def test_what_is_due_beside_a_worker_full_of_the_brokers_tasks_runs_in_the_idle_one(proj, starts, wait_until_empty):
    naps = [proj.early_nap.apply_async((2.0,), queue="first") for _ in range(2)]
    starts(1)
    eta = soon(0.5)
    results = [proj.note.post_at(eta, number) for number in range(6)]
    rows = starts(8)
    assert max(lateness(rows, results, eta)) < ONE_SECOND
    assert {rows[result.id]["worker"] for result in results}.isdisjoint({rows[naps[0].id]["worker"]})
    wait_until_empty()


@pytest.mark.parametrize(
    ("count", "seconds"), [(20, 0.4), pytest.param(8, 0.9, marks=pytest.mark.slow)], ids=["short tasks", "long ones"]
)
def test_a_worker_full_of_the_brokers_tasks_runs_what_nobody_else_takes_in_between(
    proj, start_worker, pool, starts, wait_until_empty, count, seconds
):
    if pool == "eventlet":
        # Its pool has no way to wait in line: the broker's tasks go first.
        return
    start_worker(pool=pool, concurrency=1)
    naps = [proj.early_nap.delay(seconds) for _ in range(count)]
    starts(1)
    results = [proj.note.post_in(0, number) for number in range(2)]
    rows = starts(count + 2)
    assert max(rows[result.id]["at"] for result in results) < max(rows[nap.id]["at"] for nap in naps)
    wait_until_empty()


@pytest.mark.slow
def test_what_is_delivered_once_waits_in_the_worker_and_is_stored_again_at_its_end(
    proj, start_worker, pool, starts, wait_until_empty
):
    worker = start_worker(pool=pool, concurrency=1, name="first")
    eta = soon()
    proj.nap.post_at(eta, 2.0)
    later = eta + timedelta(seconds=0.005)
    results = [proj.note.post((number,), eta=later, max_redeliveries=0) for number in range(3)]
    starts(1)
    worker.term()
    worker.wait()
    start_worker(pool=pool, concurrency=1, name="second")
    rows = starts(4)
    assert all(result.id in rows for result in results)
    wait_until_empty()
    assert len(proj.records()) == 3 + 2
