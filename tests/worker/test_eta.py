"""What a task that the timer fired shows as its eta."""

import copy
import pickle
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from rig.waiting import wait_until

from celery_dtimer.extension import DeliveryInfo


@pytest.fixture
def app_file():
    return Path(__file__).parent / "apps" / "astray.py"


@pytest.mark.parametrize(
    ("pool", "zone"), [("prefork", "UTC"), ("threads", "UTC"), ("solo", "UTC"), ("threads", "America/New_York")]
)
def test_a_fired_task_and_its_monitors_see_the_eta_and_the_worker_does_not_hold_it(proj, start_worker, pool, zone):
    start_worker(pool, env={"ZONE": zone}, arguments=("--without-mingle", "-E"))
    received = {}
    with proj.app.connection_for_read() as connection:
        handlers = {"task-received": lambda event: received.setdefault(event["uuid"], event)}
        receiver = proj.app.events.Receiver(connection, handlers=handlers)
        with receiver.consumer_context() as (draining, _, _):

            def heard():
                with suppress(TimeoutError):
                    draining.drain_events(timeout=0.2)
                return len(received) == 2

            heard()  # over Redis, a receiver subscribes when it first looks
            now = proj.look.delay()
            instant = datetime(2026, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)
            later = proj.look.post((), eta=instant)
            wait_until(heard, "both task-received events", 20)
    assert now.get(timeout=20) == [None, False]
    text, truth = later.get(timeout=20)
    assert truth is True
    assert datetime.fromisoformat(text) == instant
    assert text.endswith("+00:00" if zone == "UTC" else "-05:00")
    assert received[now.id]["eta"] is None
    assert received[later.id]["eta"] == text


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=9)), None])
def test_what_a_task_knows_of_its_delivery_reaches_a_process_as_it_was(zone):
    info = DeliveryInfo(datetime(2026, 3, 29, 1, 30, 0, 1000, zone), 0.25, 1, 20, "low", b"id\xff1", ("a", "b"))
    for twin in (pickle.loads(pickle.dumps(info)), copy.deepcopy(info)):
        assert twin == info
        assert twin.due_at.tzinfo == info.due_at.tzinfo
