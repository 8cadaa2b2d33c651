"""Deliveries that meet the step while it stops or starts."""

from dataclasses import replace

import pytest

from celery_dtimer import install
from celery_dtimer.extension import extension_of
from celery_dtimer.firing import delivery as firing_module
from celery_dtimer.firing.delivery import Firing
from celery_dtimer.firing.inbox import Inbox
from celery_dtimer.message import StoredMessage, encode
from celery_dtimer.timer.events import Delivery


class StandIn:
    """A listener, and all that is asked of a consumer."""

    hub = "a hub"
    controller = None
    prefetch_multiplier = 4
    num_processes = limit = 1
    is_green = False
    hostname = "worker@here"

    def __init__(self, *_arguments, **_options):
        self.told = []
        self.pool = self
        self.max_events = 4

    def create_task_handler(self):
        return self.told.append

    def on_apply(self, *_arguments, **_options):
        raise AssertionError("nothing is run here")

    def start(self):
        self.told.append("start")

    def pause(self):
        self.told.append("pause")

    def resume(self):
        self.told.append("resume")

    def release(self, delivery, **_options):
        self.told.append(delivery.id)


@pytest.fixture
def firing(make_app, redis_url, monkeypatch):
    """A Firing whose listener only writes down what it is told."""
    monkeypatch.setattr(firing_module, "Listener", StandIn)
    app = install(make_app(dtimer_url=redis_url))
    made = Firing(extension_of(app), StandIn())
    made.start()
    yield made
    made._thread.stop()


PAYLOAD = encode(StoredMessage(b"[[], {}, {}]", "application/json", "utf-8"), "id", "celery")


def delivery(name):
    return Delivery(
        id=name, payload=PAYLOAD, queue="celery", due_ms=0, redeliveries=0, max_redeliveries=1, key="key", token="1"
    )


def test_what_is_claimed_while_the_step_stops_is_given_back_and_the_listener_is_not_paused_once_more(firing):
    firing.pause()
    firing._receive([delivery("late")])
    firing.start()
    # A pause by the listener's own thread could come after the resume of the main thread, and would last.
    assert firing._listener.told == ["start", "pause", "late", "resume"]
    assert firing._channel.is_open


def test_what_another_thread_has_just_taken_from_the_inbox_is_not_taken_twice():
    inbox = Inbox()
    inbox.put(delivery("one"), None, 0.0)
    entry = inbox.first()
    assert [taken.id for taken in inbox.empty()] == ["one"]
    assert not inbox.take(entry)
    assert inbox.empty() == []


def test_what_would_end_first_is_first_and_what_has_not_run_here_counts_as_short():
    inbox = Inbox()
    for name, due_ms, seconds in [
        ("long", 1000, 5.0),
        ("short", 1001, 0.01),
        ("new", 1002, float("inf")),
        ("due when the long one could be over", 6001, 0.01),
    ]:
        inbox.put(replace(delivery(name), due_ms=due_ms), None, seconds)
    assert [entry.id for entry in taken_from(inbox)] == ["new", "short", "long", "due when the long one could be over"]


def taken_from(inbox):
    while (entry := inbox.first()) is not None:
        assert inbox.take(entry)
        yield entry.delivery
