"""django-structlog: the context of a request is bound in the tasks that the timer fires, and in what they post."""

import json
import re
from itertools import groupby

import pytest


@pytest.mark.parametrize("order", ["before", "after"])
def test_the_context_of_a_request_is_bound_in_the_tasks_that_it_posts(start_worker, run_apart, order):
    worker = start_worker(pool="threads")
    result = run_apart("result = proj.call()")
    ids, ran = result["ids"], result["ran"]
    for name in ("post_in", "takeover", "retried"):
        assert ran[name]["request_id"] == result["request"]
        assert (ran[name]["order"], ran[name]["routed"], ran[name]["due"]) == ("17", "celery", True)
        assert ran[name]["task_id"] == ids[name]
    for name in ("posted by a task", "called by a task"):
        assert (ran[name]["request_id"], ran[name]["parent_task_id"]) == (result["request"], ids["calls"])
    # Celery puts a head before what is printed.
    lines = [json.loads(line) for line in re.findall(r'\{".*\}$', worker.logs(), re.MULTILINE)]
    for task_id in (ids["post_in"], ids["takeover"]):
        events = [line["event"] for line in lines if line.get("task_id") == task_id]
        assert events == ["task_started", "task_succeeded"]
    retried = [line["event"] for line in lines if line.get("task_id") == ids["retried"]]
    assert [event for event, _ in groupby(retried)] == [
        *("task_started", "task_enqueued", "task_retrying"),
        *("task_started", "task_succeeded"),
    ]
    # Within a worker, django-structlog as it is set up by its page says twice that a task is enqueued.
    posted, called = ([line for line in lines if line.get("child_task_id") == each] for each in ran["calls"])
    assert [line["event"] for line in posted] == [line["event"] for line in called] == ["task_enqueued"] * 2
