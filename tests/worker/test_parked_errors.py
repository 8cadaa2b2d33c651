"""A parked event has the error of its last failed delivery, however its task failed."""

from datetime import UTC, datetime, timedelta
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

    # The worker above keeps what is parked; one with the setting does not. It looks at once, and then in half a minute.
    newest = max(event.parked_at for event in parked.values())
    wait_until(lambda: datetime.now(UTC) - newest > timedelta(seconds=1.5), "the newest to be old")
    other = start_worker("threads", name="other", env={"PARKED_TTL": "1"})
    wait_until(lambda: timer.count().parked == 0, "what is parked to be dropped")
    other.wait_for_log("4 events were parked for longer than 1 s (dtimer_parked_ttl); they are dropped")


def test_what_is_dropped_is_counted_by_its_queue(make_app, redis_url):
    counters = make_app(dtimer_url=redis_url)._dtimer.counters
    counters.dropped_from_parked(["mail", "mail", ""])
    assert (counters.of("mail").dropped, counters.total("dropped")) == (2, 3)
