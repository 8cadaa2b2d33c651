"""celery-batches: fired events are gathered like other calls, and confirmed by their batch.

It does not go with the newest Celery, so its workers and callers run in an environment of their own.
"""

import sys
from pathlib import Path

import pytest

PYTHON = Path(sys.prefix) / "celery-batches" / "bin" / "python"


@pytest.fixture
def python():
    assert PYTHON.exists(), "celery-batches has no environment: make .venv/installed-companions"
    return str(PYTHON)


@pytest.mark.parametrize(("order", "pool"), [("before", "threads"), ("after", "prefork")])
def test_fired_events_are_gathered_into_batches_and_confirmed(start_worker, run_apart, python, order, pool):
    start_worker(pool=pool, python=python)
    result = run_apart("result = proj.call()", python)
    full = [["posted", "taken", "third"], True]
    for task in ("proj.early", "proj.late"):
        assert result[task] == [full, full, full]
    assert result["alone"] == [[["alone"], True]]
    assert result["most"] <= 8
    assert result["confirmed"] is True


def test_events_of_a_batch_that_acks_late_are_leased_until_it_ends(start_worker, run_apart, python):
    start_worker(pool="prefork", python=python)
    assert run_apart("result = proj.call_slowly()", python) == {"amid": 3, "after": True, "runs": 3}


def test_the_batch_of_a_killed_worker_runs_on_another(start_worker, run_apart, python):
    first = start_worker(pool="prefork", python=python)
    ids = run_apart("result = proj.begin()", python)
    first.kill()
    start_worker(pool="prefork", python=python)
    assert run_apart(f"result = proj.results({ids})", python) == [[[["a", "b", "c"], True], "SUCCESS"]] * 3


def test_events_that_are_dropped_as_too_late_are_in_no_batch(start_worker, run_apart, python):
    ids = run_apart("result = proj.post_late()", python)
    start_worker(pool="threads", python=python)
    *late, in_time = run_apart(f"result = [[str(r), s] for r, s in proj.results({ids})]", python)
    assert in_time == ["[['in time'], True]", "SUCCESS"]
    assert late == [["expired", "REVOKED"]] * 3
