"""With a worker whose pool has processes of its own."""

import os

import pytest

from celery_dtimer import dtimer_task


@pytest.fixture(scope="session")
def celery_config():
    return {"broker_url": "memory://", "result_backend": os.environ["RESULTS"]}


@pytest.fixture(scope="session")
def celery_worker_pool():
    return "prefork"


@pytest.fixture(scope="session")
def celery_worker_parameters():
    return {"concurrency": 1}


@dtimer_task(name="pid")
def pid(left):
    if left:
        pid.post((left - 1,), delay=3600, expires=5400, task_id=f"pid {left - 1}")
    return os.getpid()


def test_a_pools_process_goes_by_the_tests_time(celery_app, dtimer, celery_worker):
    first = pid.post_in(60, 2)
    dtimer.advance(days=1)
    assert dtimer.pending() == []
    assert celery_app.AsyncResult("pid 0").get(timeout=10) == first.get(timeout=10) != os.getpid()
