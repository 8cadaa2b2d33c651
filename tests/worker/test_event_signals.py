"""The signals of the timer: which are sent, with what; and that a receiver harms nobody."""

from datetime import datetime
from pathlib import Path

import pytest
from rig.waiting import wait_until

from celery_dtimer import get_timer, signals
from celery_dtimer.counters import MOST_QUEUES, OTHERS, TOO_OFTEN, Counters
from celery_dtimer.timer.events import NewEvent


@pytest.fixture
def app_file():
    return Path(__file__).parent / "apps" / "signalled.py"


@pytest.fixture(autouse=True)
def disconnected(proj):
    yield
    for signal in proj.SIGNALS:
        signal.disconnect(proj.write_down)
        signal.disconnect(proj.fail)


@pytest.fixture
def wait_for_signals(proj):
    """Waits until the last signals of an event are these, and returns its rows."""

    def wait(event_id, *names):
        def told():
            # A busy worker gives back what it has not started: that is not counted, and no concern of these tests.
            rows = [row for row in proj.seen(event_id) if row.get("counted", True)]
            return rows if [row["signal"].removeprefix("event_") for row in rows] == list(names) else None

        return wait_until(told, f"the signals {names}, not {proj.seen(event_id)}")

    return wait


@pytest.mark.parametrize("pool", ["threads", pytest.param("prefork", marks=pytest.mark.slow)])
def test_what_becomes_of_an_event_is_signalled_in_order_though_receivers_raise(
    proj, start_worker, wait_for_signals, wait_until_empty, timer, pool
):
    worker = start_worker(pool=pool)
    noted = proj.note.post_in(0.2)
    assert noted.get(timeout=10) == "noted"
    posted, fired, confirmed = wait_for_signals(noted.id, "posted", "fired", "confirmed")
    for row in (posted, fired, confirmed):
        assert (row["id"], row["queue"], row["task"]) == (noted.id, "celery", "proj.note")
        assert datetime.fromisoformat(row["due_at"]) == datetime.fromisoformat(posted["due_at"])
    assert posted["on_conflict"] == "error"
    assert fired["lateness"] >= 0
    assert (fired["redeliveries"], fired["max_redeliveries"], confirmed["redeliveries"]) == (0, 20, 0)

    requeued = proj.requeue.post((1,), delay=0.3)
    rows = wait_for_signals(requeued.id, "posted", "fired", "released", "fired", "confirmed")
    assert (rows[2]["counted"], rows[2]["delay"], rows[2]["reason"]) == (True, 0.5, "its task was requeued")
    assert (rows[3]["redeliveries"], rows[4]["redeliveries"]) == (1, 1)

    refused = proj.refuse.post(delay=0.3)
    parked = wait_for_signals(refused.id, "posted", "fired", "parked")[-1]
    assert (parked["task"], parked["reason"]) == ("proj.refuse", "its task was rejected")

    tired = proj.requeue.post((9,), delay=0.3, max_redeliveries=1)
    rows = wait_for_signals(tired.id, "posted", "fired", "released", "fired", "parked")
    assert rows[-1]["redeliveries"] == 1

    later = proj.note.post_in(100)
    assert later.cancel()
    for parked in (refused, tired):
        assert timer.cancel(parked.id)
    cancelled = wait_for_signals(later.id, "posted", "cancelled")[-1]
    assert (cancelled["task"], cancelled["queue"], cancelled["state"]) == ("proj.note", "celery", "pending")
    cancelled = wait_for_signals(tired.id, "posted", "fired", "released", "fired", "parked", "cancelled")[-1]
    assert (cancelled["task"], cancelled["state"]) == ("proj.requeue", "parked")
    wait_until_empty()
    assert "as planned" in worker.logs()  # Celery's own line about a receiver
    assert "a receiver of event_confirmed failed" in worker.logs()


def test_an_event_that_a_claim_parks_is_signalled(proj, start_worker, wait_for_signals, timer):
    event = proj.note.post(delay=0, max_redeliveries=1)
    store = timer.shards[0]
    for number in range(2):  # two listeners that claim it, and are gone
        claim = store.claim(["celery"], listener="l", holder="h", nonce=str(number), room=1, lease_ms=1)
        assert wait_until(lambda claim=claim: store.read_claim(store.ask(claim), ["celery"]).deliveries, "the claim")
    start_worker(pool="threads")
    parked = wait_for_signals(event.id, "posted", "parked")[-1]
    assert (parked["queue"], parked["task"], parked["reason"]) == ("celery", None, TOO_OFTEN)
    assert timer.cancel(event.id)


def test_a_cancel_that_cancels_nothing_is_not_signalled(proj, wait_for_signals):
    assert not get_timer(proj.app).cancel("unknown")
    assert proj.seen("unknown") == []


def test_without_receivers_nothing_is_sent(proj, monkeypatch):
    for signal in proj.SIGNALS:
        # Those of other tests' projects too, which are gone but still listed.
        monkeypatch.setattr(signal, "receivers", [])
        monkeypatch.setattr(signal, "send", None)
    result = proj.note.post_in(100)
    assert result.cancel()
    assert proj.seen() == []


def test_hostile_queues_are_counted_together_beyond_a_bound():
    counters = Counters("app")
    for number in range(2 * MOST_QUEUES):
        counters.posted(NewEvent("id", b"", "in", 0, 1, queue=f"queue-{number}"), 0, "error")
    assert len(counters.queues) == MOST_QUEUES + 1
    assert counters.queues[OTHERS].posted == MOST_QUEUES
    assert counters.total("posted") == 2 * MOST_QUEUES
    counters.forked()
    assert counters.total("posted") == 0


def test_each_signal_says_what_it_provides():
    assert [name for name in signals.__all__ if getattr(signals, name).providing_args < {"id", "queue", "task"}] == []
