"""Flower: its API shows fired tasks with the time when they were due, revokes what waits, and posts what is delayed."""

import json
import urllib.request
from datetime import datetime
from urllib.error import URLError

import pytest
from rig.ports import HOST, free_port
from rig.waiting import wait_until
from rig.workers import QUICK_START

from celery_dtimer.firing.earliness import LEAD_IN_POOL


@pytest.fixture
def ask(start_worker, start_celery):
    """Starts a worker and Flower, and returns a function that asks its API, with a body as JSON for a POST."""
    start_worker(pool="threads", arguments=(*QUICK_START, "-E"))
    port = free_port()
    place = (f"--address={HOST}", f"--port={port}")
    start_celery("flower", *place, environment={"FLOWER_UNAUTHENTICATED_API": "true"})

    def call(path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"http://{HOST}:{port}/api/{path}", data, timeout=30) as answer:
            return json.load(answer)

    def workers():
        try:
            return call("workers?status=true")
        except URLError:
            return None

    wait_until(workers, "Flower to see the worker", 30)
    return call


@pytest.fixture
def task_in(ask):
    """Waits until Flower has a task in a state."""

    def wait(task_id, state):
        def seen():
            task = ask("tasks").get(task_id)
            return task if task and task["state"] == state else None

        return wait_until(seen, f"Flower to show {task_id} in {state}", 20)

    return wait


def test_fired_tasks_are_shown_with_their_eta_and_pending_ones_can_be_revoked(ask, task_in, run_apart):
    called = run_apart("result = proj.call()")
    for name, due in called["due"].items():
        task = task_in(called["ids"][name], "SUCCESS")
        assert datetime.fromisoformat(task["eta"]).timestamp() == pytest.approx(due, abs=0.01)
        assert (task["name"], task["worker"].split("@")[0], task["failed"]) == ("proj.note", "w1", None)
        # Received a little before it is due, and started when it is.
        assert task["received"] >= due - LEAD_IN_POOL - 0.01
        assert task["started"] >= due
    waits = task_in(called["ids"]["waits"], "PENDING")
    assert waits["eta"] is not None
    assert run_apart("result = proj.waiting()") == [called["ids"]["waits"]]
    ask(f"task/revoke/{called['ids']['waits']}", {})
    task_in(called["ids"]["waits"], "REVOKED")
    assert run_apart("result = proj.waiting()") == []
    # Flower itself posts what it is told to delay.
    sent = ask("task/async-apply/proj.note", {"args": ["flower"], "countdown": 0.5})
    assert task_in(sent["task-id"], "SUCCESS")["eta"] is not None
    assert ask(f"task/result/{sent['task-id']}")["result"] == ["flower", True]
