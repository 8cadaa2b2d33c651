"""A parked event has the error of its last failed delivery, however its task failed."""

from pathlib import Path

import pytest
from rig.waiting import wait_until

from celery_dtimer import get_timer


@pytest.fixture
def app_file():
    return Path(__file__).parent / "apps" / "failing.py"


def test_the_last_error_of_a_task_is_parked_with_its_event(worker_app, start_worker):
    proj, timer = worker_app.module, get_timer(worker_app.app)
    for name in ("requeue", "lose", "outlast", "fail"):
        getattr(proj, name).post((), delay=0, task_id=name)
    start_worker("prefork", concurrency=4, name="w")
    wait_until(lambda: timer.count().parked == 4, "all events to be parked")
    parked = {event.id: event for event in timer.parked()}
    assert {event.holder.split("@")[0] for event in parked.values()} == {"w"}
    assert {name: (event.deliveries, event.reason) for name, event in parked.items()} == {
        "requeue": (2, "redelivered too often: its task was requeued"),
        "lose": (2, "redelivered too often: its task was requeued"),
        "outlast": (2, "redelivered too often: its task was requeued"),
        "fail": (1, "its task was rejected"),
    }
    assert parked["requeue"].error == "celery.exceptions.Reject: (ValueError('no such\\norder'), True)"
    assert "WorkerLostError: " in parked["lose"].error
    assert "SIGKILL" in parked["lose"].error
    assert "TimeLimitExceeded" in parked["outlast"].error
    assert parked["fail"].error == "KeyError: '" + "x" * 288 + "…"
    assert len(parked["fail"].error) == 300
    assert timer.drop_many(all=True).done == 4
