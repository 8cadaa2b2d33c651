"""What a pool reports of a task, and what is to be told apart in it."""

import json

import pytest
from billiard.einfo import ExceptionInfo

from celery_dtimer.celery_patches import watching


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_a_task_that_is_skipped_since_it_has_succeeded_before_is_confirmed(proj, start_worker, wait_until_empty, pool):
    start_worker(pool=pool, env={"BROKER_SETTINGS": json.dumps({"worker_deduplicate_successful_tasks": True})})
    result = proj.paid.post_in(0)
    assert result.get(timeout=20) == "paid"
    wait_until_empty(20)
    assert len(proj.records()) == 1


@pytest.mark.parametrize(
    ("result", "was_killed"),
    [
        ((False, None, None), True),  # celery/concurrency/gevent.py and eventlet.py
        ((0, None, None), False),  # skipped
        ((0, "None", 0.1), False),
        ((0, "", 0.0), False),
        ((1, None, None), False),
        ((1, "a failure", None), False),
        (None, False),
        (ExceptionInfo, False),
    ],
)
def test_a_killed_greenlet_is_told_from_everything_that_equals_it(result, was_killed):
    assert watching._was_killed(result) is was_killed
