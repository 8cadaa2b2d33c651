"""django-celery-results: what the timer fires, retries and cancels is in Django's database as any other task is."""

import json

import pytest


@pytest.mark.parametrize("order", ["before"])
def test_results_are_in_the_database_with_their_tasks_names_and_arguments(start_worker, run_apart, order):
    run_apart("proj.migrate(); result = None")
    start_worker(pool="threads")
    result = run_apart("result = proj.call()")
    assert result["states"] == ["SUCCESS", "SUCCESS", "SUCCESS", "FAILURE", "SUCCESS", "REVOKED"]
    posted, taken, retried, failed, total, cancelled = result["rows"]
    assert [json.loads(text) for text in posted[2:4]] == ["(1,)", "{'y': 2}"]
    assert posted[:2] == ["SUCCESS", "proj.add"]
    assert json.loads(posted[4]) == [3, True]
    assert json.loads(taken[4]) == [7, True]
    assert taken[5] == "each night"
    assert (retried[1], retried[4]) == ("proj.stubborn", "1")
    assert json.loads(failed[4])["exc_message"] == ["no"]
    assert (total[1], total[4]) == ("proj.total", "6")
    assert cancelled[:2] == ["REVOKED", "proj.add"]
    assert [json.loads(text) for text in cancelled[2:4]] == ["('never',)", "{'y': 1}"]
    assert cancelled[5] == "each night"
