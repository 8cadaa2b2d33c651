"""A retry of a fired task is never lost for the kind of its time."""

from pathlib import Path

import pytest


@pytest.fixture
def app_file():
    return Path(__file__).parent / "apps" / "moments.py"


def test_a_fired_task_can_retry_at_a_time_of_any_kind(proj, start_worker, wait_until_empty):
    start_worker(pool="threads", concurrency=4)
    results = {name: proj.again.post_in(0.1, name) for name in proj.TIMES}
    assert {name: result.get(timeout=30) for name, result in results.items()} == dict.fromkeys(proj.TIMES, True)
    wait_until_empty()
