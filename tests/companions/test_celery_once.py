"""celery-once: a post takes the lock, a second one is refused, and the run gives the lock back."""

import pytest


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_duplicate_is_refused_until_the_fired_task_has_run(start_worker, run_apart, order):
    start_worker(pool="threads")
    result = run_apart("result = proj.call()")
    for way in ("post_in", "takeover"):
        assert result[way] == [[True, True, True], [way, True], True, [way, True]]
    assert result["retried"] == [["r", True], True]
    assert result["graceful"] == ["REJECTED", False, None, 1]
    assert result["patient"] == [True, True]
    assert result["cancelled"] == [True, True]
    assert result["cleared"] == ["c", True]
