"""A result backend that is away: the run is a run all the same, and its slot is free again."""

from pathlib import Path

import pytest
from outcome_runs import Run
from outcome_table import BY_NAME
from rig.pools import pools


@pytest.fixture(params=pools("prefork", "gevent"))
def pool(request):
    return request.param


@pytest.fixture
def app_file():
    return Path(__file__).parent / "apps" / "outcomes.py"


@pytest.fixture
def run(worker_app, start_worker, pool):
    return Run(worker_app, start_worker, pool)


@pytest.fixture
def backend(celery_redis_broker):
    """A Redis of the test's own."""
    return celery_redis_broker


@pytest.fixture
def start(run, backend, result_backend_url):
    """Start a worker with that result backend, for which it waits a moment only."""

    def start(**options):
        return run.worker(
            RESULT_BACKEND=backend.config()["url"],
            RESULT_BACKEND_OPTIONS='{"retry_policy": {"max_retries": 1}}',
            RECORDS_URL=result_backend_url,
            **options,
        )

    return start


@pytest.mark.parametrize("row", ["returns, acks_late", "raises, acks_late", "returns, acknowledged early"])
def test_a_task_that_ends_while_its_result_backend_is_away_ends_its_event(run, start, backend, row, wait_until_empty):
    start(concurrency=1)
    row = BY_NAME[row]
    deed = ("spin", 1) if not row.deed else row.deed
    run.post(row, "the first", deed)
    run.wait_for("the first", "start")
    backend.kill()
    run.post(row, "the second", ())
    wait_until_empty(20)
    assert [len(run.rows(name, "start")) for name in ("the first", "the second")] == [1, 1]
