"""celery-singleton: a post takes the lock, a second one gets the result of the first, and the run gives it back."""

import pytest


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_duplicate_gets_the_result_of_the_first_until_that_has_run(start_worker, run_apart, order):
    start_worker(pool="threads")
    result = run_apart("result = proj.call()")
    for way in ("post_in", "takeover"):
        assert result[way] == [[True, True, True], [way, True], True, [way, True]]
    assert result["strict"] == [True, 1]
    assert result["shared"] == [True, True]
    assert result["cancelled"] == [True, None]
    assert result["released"] == ["c", True]
