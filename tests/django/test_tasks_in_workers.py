"""Django's Tasks run in Celery's workers, at once or when they are due, and their results are to be had."""

from pathlib import Path

import pytest

CODE = """
import time
from datetime import timedelta
from django.utils import timezone
from celery_dtimer import get_timer

def finished(task, result):
    for _ in range(300):
        found = task.get_result(result.id)
        if found.is_finished:
            return found
        time.sleep(0.1)
    raise AssertionError(found)

def shown(found):
    return {
        "status": str(found.status), "args": found.args, "kwargs": found.kwargs, "attempts": found.attempts,
        "worker": found.worker_ids[0].split("@")[0], "errors": [error.exception_class_path for error in found.errors],
        "ordered": found.enqueued_at <= found.started_at <= found.finished_at,
    }

due = timezone.now() + timedelta(seconds=1)
later = proj.add.using(run_after=due).enqueue(2, y=3)
waits = later.task.get_result(later.id)
result = {
    "waits": [str(later.status), str(waits.status), waits.args, waits.kwargs, waits.task.run_after == due],
    "waiting": get_timer(proj.app).count().pending,
}
now, failing = proj.add.enqueue(1, 2), proj.fail.enqueue(17)
awaited, told, mailed = proj.wait.enqueue("done"), proj.tell.enqueue(), proj.mail.enqueue("ada")
found = finished(proj.add, now)
result["now"] = {**shown(found), "value": found.return_value}
found = finished(proj.add, later)
result["later"] = {**shown(found), "value": found.return_value}
result["on time"] = found.started_at >= due
later.refresh()
result["refreshed"] = later.return_value
found = finished(proj.fail, failing)
result["failed"] = {**shown(found), "traceback": found.errors[0].traceback}
result["awaited"] = finished(proj.wait, awaited).return_value
told = finished(proj.tell, told)
result["told"] = [told.return_value[0] == told.id, *told.return_value[1:]]
result["mailed"] = finished(proj.mail, mailed).return_value
"""

ADDED = {"status": "SUCCESSFUL", "attempts": 1, "worker": "clerk", "errors": [], "ordered": True}


@pytest.fixture
def app_file():
    return Path(__file__).parent / "apps" / "tasks_shop.py"


@pytest.fixture
def worker_app(project_apart):
    return project_apart


def test_tasks_run_at_once_or_when_they_are_due_and_their_results_are_to_be_had(start_worker, worker_app, run_apart):
    start_worker(pool="threads", name="clerk", queues="celery,mail")
    seen = run_apart(CODE)
    assert seen["waits"] == ["READY", "READY", [2], {"y": 3}, True]
    assert seen["waiting"] == 1
    assert seen["now"] == {**ADDED, "args": [1, 2], "kwargs": {}, "value": [1, 3]}
    assert seen["later"] == {**ADDED, "args": [2], "kwargs": {"y": 3}, "value": [2, 5]}
    assert seen["on time"]
    assert seen["refreshed"] == [2, 5]
    assert "no order 17" in seen["failed"].pop("traceback")
    assert seen["failed"] == {
        **ADDED,
        "status": "FAILED",
        "errors": ["builtins.LookupError"],
        "args": [17],
        "kwargs": {},
    }
    assert (seen["awaited"], seen["mailed"]) == ("done", True)
    assert seen["told"] == [True, "RUNNING", 1, "None"]
    signals = (worker_app.folder / "signals.txt").read_text().splitlines()
    assert sorted(line for line in signals if line.startswith("fail")) == ["fail FAILED", "fail RUNNING"]
