"""Deliveries that meet the step while it stops or starts."""

from dataclasses import replace

import pytest

from celery_dtimer import install
from celery_dtimer.extension import extension_of
from celery_dtimer.firing import dispatcher as dispatcher_module
from celery_dtimer.firing.dispatcher import Dispatcher
from celery_dtimer.firing.inbox import Inbox, Prepared
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

    def apply_async(self, *_arguments, **_options):
        raise AssertionError("nothing is run here")

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
def dispatcher(make_app, redis_url, monkeypatch):
    """A Dispatcher whose listener only writes down what it is told."""
    monkeypatch.setattr(dispatcher_module, "Listener", StandIn)
    app = install(make_app(dtimer_url=redis_url))
    consumer = StandIn()
    consumer.app = app
    made = Dispatcher(extension_of(app), consumer)
    made.start()
    yield made
    made._thread.stop()


PAYLOAD = encode(StoredMessage(b"[[], {}, {}]", "application/json", "utf-8"), "id", "celery")


def delivery(name):
    return Delivery(
        id=name, payload=PAYLOAD, queue="celery", due_ms=0, redeliveries=0, max_redeliveries=1, key=b"key", token="1"
    )


def test_what_is_claimed_while_the_step_stops_is_given_back_and_the_listener_is_not_paused_once_more(dispatcher):
    dispatcher.pause()
    dispatcher._receive([dispatcher._prepare(delivery("late"), 0.0)])
    dispatcher.start()
    # A pause by the listener's own thread could come after the resume of the main thread, and would last.
    assert dispatcher._listener.told == ["start", "pause", "late", "resume"]
    assert dispatcher._channel.is_open


def test_what_another_thread_has_just_taken_from_the_inbox_is_not_taken_twice():
    inbox = Inbox()
    inbox.put(Prepared(delivery("one"), None, 0.0))
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
        inbox.put(Prepared(replace(delivery(name), due_ms=due_ms), None, seconds))
    assert [entry.id for entry in taken_from(inbox)] == ["new", "short", "long", "due when the long one could be over"]


def taken_from(inbox):
    while (entry := inbox.first()) is not None:
        assert inbox.take(entry)
        yield entry.delivery


@pytest.mark.parametrize("pool", ["gevent", "eventlet", "threads"])
def test_more_tasks_than_connections_use_the_timer_at_one_instant(
    proj, start_worker, timer_url, pool, wait_for_records, wait_until_empty
):
    option = f"{timer_url}{'&' if '?' in timer_url else '?'}max_connections=2"
    worker = start_worker(pool=pool, concurrency=40, env={"DTIMER_URL": option, "MAX_EVENTS": "41"})
    results = [proj.stubborn.post_in(1, 2, 0.1) for _ in range(40)]
    rows = wait_for_records(80)
    assert {row["id"] for row in rows if row["retries"] == 1} == {result.id for result in results}
    wait_until_empty()
    assert "Redis failed" not in worker.logs()
