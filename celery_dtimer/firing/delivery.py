"""From a claimed event to a task invocation, and from the task's ack to the confirm.

A delivery becomes a kombu message whose channel is ours, and goes through the consumer's own task handler: nothing
of what a worker does with a task is bypassed, and what it decides comes back as the message's ack or reject.
"""

import logging
import threading
import time
import weakref
from queue import SimpleQueue
from typing import Any

from celery import signals
from celery.bootsteps import RUN
from celery.worker import state
from kombu.message import Message

from celery_dtimer import message
from celery_dtimer.errors import TimerFullError, TimerUnavailableError
from celery_dtimer.extension import DeliveryInfo, Extension
from celery_dtimer.firing import pools
from celery_dtimer.firing.capacity import UNLIMITED, Capacity
from celery_dtimer.firing.inbox import Entry, Inbox
from celery_dtimer.timer.events import Delivery, NewEvent
from celery_dtimer.timer.listener import Listener
from celery_dtimer.timer.shard_listener import PATIENCE_MS, Room
from celery_dtimer.timer.wakeup import Wakeup

logger = logging.getLogger(__name__)

#: Where a request sees its delivery: ``request.dtimer``.
DELIVERY_HEADER = "dtimer"

#: A requeued event waits so many milliseconds before it is claimed again: doubled each time, up to the last.
BACKOFF_FIRST_MS, BACKOFF_LAST_MS = 500, 60_000

#: Seconds for which a worker leaves an event whose task it does not know to others, before it parks it.
UNKNOWN_TASK_PATIENCE = 3600.0

#: Seconds of firing after which the hub gets its turn.
SLICE = 0.005

#: Seconds after which what waits for a slot is given back to those who have one: as long as no task ends.
GIVE_BACK = 0.05

#: The same where there are slots, but the worker's main thread does not come round to use them.
STUCK = 1.0

#: Seconds that a worker's end may wait for the timer's Redis to take the last confirms.
FAREWELL = 5.0


class EventMessage(Message):
    """A delivery as a kombu message. Unlike kombu's own, it can be referred to weakly."""


class Firing:
    """Fires the deliveries of one worker.

    A delivery's lease is renewed for as long as its message is referred to: by its request, wherever in the worker
    that waits or runs. A message that is gone without an ack had a request that vanished, and is released.

    Args:
        extension: The app's timer.
        consumer: The worker's ``celery.worker.consumer.Consumer``.
    """

    #: What kombu asks a channel for before it acks.
    no_ack_consumers = None

    def __init__(self, extension: Extension, consumer: Any) -> None:
        self._consumer = consumer
        self._handler: Any = None
        self._messages: dict[Delivery, weakref.ref[EventMessage]] = {}
        self._running: set[Delivery] = set()  # their tasks have started
        self._inbox = Inbox()
        self._refused: dict[str, float] = {}  # id of an event whose task is unknown here -> first refused at
        self._open = False
        self._blocked = False  # the pool can't start what is next
        self._full = False  # the listener was told that there is no room, and waits to hear that there is
        self._stuck = False  # who hands over did not come round for too long: nothing is claimed until it does
        settings = extension.settings
        self._shards = extension.shards
        self._capacity = Capacity(consumer, settings.max_events, self._is_ours)
        self._listener = Listener(
            self._shards,
            queues=self._queues,
            deliver=self._receive,
            max_events=self._capacity.max_events,
            confirm_timeout=settings.confirm_timeout,
            alive=self._is_alive,
            room=self._room,
            look_after=self._look_after_inbox,
            on_error=self._on_error,
            name=consumer.hostname,
        )
        self._started = False
        self._wakeup = Wakeup() if consumer.hub else None
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._thread: threading.Thread | None = None
        if self._wakeup is None:
            self._thread = threading.Thread(target=self._fire_in_thread, name="dtimer-firing", daemon=True)
            pools.one_at_a_time(consumer.pool)
        pools.watch(
            consumer.pool,
            ours=self._is_ours,
            on_accepted=self._on_accepted,
            on_killed=self._on_killed,
            on_ran=self._capacity.ran,
            on_free=self._on_free,
        )
        self._watch_for_shutdown()

    # --- called by the step, in the worker's main thread

    def start(self) -> None:
        """Hand deliveries to the consumer as it is now."""
        self._handler = self._consumer.create_task_handler()
        self._open = True
        if self._started:
            self._listener.resume()
            self._wake()
            logger.info("dtimer: firing again")
            return
        self._started = True
        if self._thread is not None:
            self._thread.start()
        self._listener.start()
        logger.info("dtimer: firing up to %d events at a time", self._listener.max_events)

    def register(self, hub: Any) -> None:
        """Be called by the hub when there is something in the inbox."""
        if self._wakeup is not None:
            hub.add_reader(self._wakeup.fileno(), self._on_wakeup)

    def pause(self) -> None:
        """Claim and hand over nothing; give back what was not handed over."""
        self._open = False
        self._listener.pause()
        self._empty_inbox()

    def _watch_for_shutdown(self) -> None:
        """Pause with the signal that ends the worker: its loop may notice seconds later, or when a task has ended."""
        signals.worker_shutting_down.connect(self._on_shutting_down, sender=self._consumer.hostname)
        controller = self._consumer.controller
        wait = getattr(controller, "wait_for_soft_shutdown", None)
        if wait is not None:

            def wait_for_soft_shutdown() -> Any:
                # That signal comes after the wait for the tasks that run.
                self.pause()
                return wait()

            controller.wait_for_soft_shutdown = wait_for_soft_shutdown

    def _on_shutting_down(self, **_: Any) -> None:
        self.pause()

    def stop(self) -> None:
        """Send the last confirms, release what is left, and end."""
        self._calls.put(False)
        if self._thread is not None and not state.should_terminate:
            # A solo pool runs its tasks in there, and a warm shutdown lets what runs come to its end.
            self._thread.join(None if pools.runs_inline(self._consumer.pool) else FAREWELL)
        if not self._listener.stop(FAREWELL, release=True):
            logger.warning("dtimer: the timer's Redis does not answer; what it was not told is redelivered")
        self._post_again()
        if self._wakeup is not None:
            self._wakeup.close()

    def _post_again(self) -> None:
        """Store what is delivered once, and was not started: its claim has taken it out of Redis."""
        while (entry := self._inbox.first()) is not None and self._inbox.take(entry):
            it = entry.delivery
            event = NewEvent(it.id, it.payload, "at", it.due_ms, it.max_redeliveries, it.queue)
            try:
                self._shards.post([event], conflict="keep")
            except (TimerUnavailableError, TimerFullError):
                logger.exception("dtimer: event %s, which is delivered once, was not started and is lost", it.id)

    def info(self) -> dict[str, Any]:
        """Return the listener's numbers."""
        return {
            "max_events": self._listener.max_events,
            "in_flight": self._listener.in_flight,
            "queues": list(self._queues()),
        }

    # --- called by the listener, in its thread

    def _queues(self) -> tuple[str, ...]:
        if self._open:
            self._listener.max_events = self._capacity.max_events  # asked before each claim, as the queues are
        consumer = self._consumer.task_consumer
        return tuple(sorted(queue.name for queue in consumer.queues)) if consumer else ()

    def _room(self) -> Room:
        # Said before it is looked at: a slot that is freed in between is told of.
        self._full = True
        if not self._stuck and self._capacity.can_claim(self._inbox.expected()):
            self._full = False
            return Room(UNLIMITED)
        return Room(0 if self._stuck else max(0, self._capacity.share() - len(self._inbox)), patient=True)

    def _receive(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            try:
                stored = message.decode(delivery.payload, delivery.id, delivery.queue)
            except message.UnknownFormatError as exc:
                self._park(delivery, exc)
            else:
                self._inbox.put(delivery, stored, self._capacity.expected(stored.headers.get("task")))
        if not self._open:
            # Claimed while the step was stopping: pause() may have emptied the inbox already. Not for us to call,
            # in this thread: the step may be started again at this very moment, and would stay paused.
            self._empty_inbox()
        else:
            self._wake()

    def _look_after_inbox(self) -> float | None:
        """Give back what can't be started here while others may have a slot; returns seconds until the next look."""
        waited = self._inbox.stuck_for()
        if not waited:
            return None
        first = self._inbox.first()
        stuck = self._capacity.can_start()
        patience = STUCK if stuck or (first is not None and self._may_queue(first)) else GIVE_BACK
        if waited < patience:
            return min(patience - waited, GIVE_BACK)  # the pool may fill up meanwhile
        self._stuck = stuck
        self._empty_inbox()
        self._wake()
        return None

    def _is_alive(self, delivery: Delivery) -> bool:
        reference = self._messages.get(delivery)
        return reference is None or reference() is not None

    @staticmethod
    def _on_error(exc: Exception) -> None:
        logger.debug("dtimer: %r", exc)

    # --- firing: in the hub's thread, or in one of our own where there is no hub

    def _wake(self) -> None:
        if self._wakeup is not None:
            self._wakeup.wake()
        else:
            self._calls.put(True)

    def _on_wakeup(self) -> None:
        assert self._wakeup is not None  # noqa: S101 - registered only then
        self._wakeup.drain()
        self._come_round()
        # Not until it is empty: the hub has others to serve, a shutdown to notice, and a solo pool runs each task
        # right here.
        end = time.monotonic() + SLICE
        while self._fire_next():
            if time.monotonic() >= end:
                self._wakeup.wake()
                return

    def _come_round(self) -> None:
        if self._stuck:
            self._stuck = False
            self._on_free()

    def _fire_in_thread(self) -> None:
        # A worker without a hub runs its own countdowns in a thread of its timer: so do we.
        while self._calls.get():
            self._come_round()
            while self._fire_next():
                pass
            if self._consumer.pool.is_green and self._inbox.first() is not None:
                # Whoever told us that its task has ended leaves the pool a little later.
                pools.wait_for_room(self._consumer.pool, STUCK / 2)
                self._calls.put(True)

    def _fire_next(self) -> bool:
        """Fire what is next, if the pool can start it soon; false if there is nothing to do now."""
        entry = self._inbox.first()
        if entry is None or not self._open:
            return False  # what is delivered once stays in the inbox while the step is stopped
        delivery = entry.delivery
        # Said before it is looked at: a slot that is freed in between is told of.
        self._blocked = True
        if not self._capacity.can_start() and not (self._may_queue(entry) and pools.has_room(self._consumer.pool)):
            return False
        self._blocked = False
        if not self._inbox.take(entry):
            return True  # pause() was faster, or something shorter came
        try:
            self._fire(entry)
        except Exception as exc:
            logger.exception("dtimer: task %s could not be fired", delivery.id)
            self._listener.release(delivery, backoff_ms=_backoff_ms(delivery), reason=f"it could not be fired: {exc!r}")
        return True

    def _may_queue(self, entry: Entry) -> bool:
        """Whether it may wait in a full pool: nobody else has taken it for long enough."""
        overdue = time.monotonic() - entry.delivery.due_monotonic
        return overdue >= PATIENCE_MS / 1000 and self._capacity.share() > 0

    def _fire(self, entry: Entry) -> None:
        delivery, stored = entry.delivery, entry.message
        try:
            event = self._message(delivery, stored)
            body = event.decode()  # type: ignore[no-untyped-call] # kombu has types for a part only
            if "task" in stored.headers:
                # Celery fails on anything else, with an error that ends a worker if the broker sent it.
                args, kwargs, _ = body
                _, _ = [*args], {**kwargs}
        except Exception as exc:  # noqa: BLE001 - whatever a serializer raises
            self._park(delivery, exc)
            return
        name = stored.headers.get("task")
        if name is not None and name not in self._consumer.strategies:
            self._refuse(delivery, name)
            return
        self._refused.pop(delivery.id, None)
        self._messages[delivery] = weakref.ref(event, lambda _: self._vanished(delivery))
        self._handler(event)

    def _park(self, delivery: Delivery, exc: Exception) -> None:
        # Left to itself, the consumer would ack what it can't decode: gone.
        logger.error("dtimer: task %s can't be decoded, and is parked", delivery.id, exc_info=exc)
        self._listener.park(delivery, f"can't be decoded: {exc!r}")

    def _refuse(self, delivery: Delivery, name: str) -> None:
        """Leave an unknown task to workers that know it: during a deploy some are older than others.

        Not counted, since in a large fleet all its redeliveries would be used up within seconds; but this worker
        asks for it less and less often, and parks it after it has been unknown for long.
        """
        now = time.monotonic()
        first = self._refused.setdefault(delivery.id, now)
        if now - first > UNKNOWN_TASK_PATIENCE:
            del self._refused[delivery.id]
            logger.error("dtimer: task %s is parked, since no worker knows %r", delivery.id, name)
            self._listener.park(delivery, f"no worker knows the task {name!r}")
            return
        if first == now:
            logger.warning("dtimer: task %s is left to others, since %r is not registered here", delivery.id, name)
        backoff = min(max((now - first) / 4, BACKOFF_FIRST_MS / 1000), BACKOFF_LAST_MS / 1000)
        self._listener.release(delivery, backoff_ms=int(backoff * 1000), counted=False, reason="unknown task")
        while len(self._refused) > UNLIMITED:
            del self._refused[next(iter(self._refused))]

    def _message(self, delivery: Delivery, stored: message.StoredMessage) -> EventMessage:
        info = DeliveryInfo(
            due_at=delivery.due_at,
            lateness=max(0.0, time.monotonic() - delivery.due_monotonic),
            redeliveries=delivery.redeliveries,
            max_redeliveries=delivery.max_redeliveries,
        )
        return EventMessage(  # type: ignore[no-untyped-call] # the same
            body=stored.body,
            delivery_tag=delivery,
            content_type=stored.content_type,
            content_encoding=stored.content_encoding,
            delivery_info={
                "exchange": stored.exchange,
                "routing_key": stored.routing_key,
                "redelivered": delivery.redeliveries > 0,
            },
            properties=stored.properties,
            headers={**stored.headers, DELIVERY_HEADER: info},
            accept=self._consumer.task_consumer.accept,
            channel=self,
        )

    # --- called by the pool, in any thread

    def _is_ours(self, request: Any) -> bool:
        message = getattr(request, "message", None)
        return isinstance(message, EventMessage) and message.channel is self

    def _on_accepted(self, request: Any) -> None:
        self._running.add(request.message.delivery_tag)

    def _on_killed(self, request: Any) -> bool:
        """Release what was cancelled, by a cold shutdown or a lost connection: Celery would take it for done."""
        if request.acknowledged or request.id in state.revoked:
            return False
        state.task_ready(request)
        self._listener.release(request.message.delivery_tag, reason="its task was cancelled")
        self._forget(request.message.delivery_tag)
        return True

    def _on_free(self) -> None:
        """A task has ended: fire what waits for that, or claim."""
        if self._blocked:
            self._blocked = False
            self._wake()
        if self._full:
            self._full = False
            self._listener.look()

    # --- the message's channel, in any thread

    def basic_ack(self, delivery_tag: Delivery, multiple: bool = False) -> None:
        """Confirm the event: its message was acknowledged."""
        del multiple
        self._forget(delivery_tag)
        self._listener.confirm(delivery_tag)

    def basic_reject(self, delivery_tag: Delivery, requeue: bool = False) -> None:
        """Release the event, or park it."""
        self._forget(delivery_tag)
        if requeue:
            self._listener.release(delivery_tag, backoff_ms=_backoff_ms(delivery_tag), reason="its task was requeued")
        else:
            self._listener.park(delivery_tag, "its task was rejected")

    def _vanished(self, delivery: Delivery) -> None:
        # May be called by the garbage collector, in any thread, in the middle of anything: no locks, no logging.
        if delivery not in self._messages:
            return  # acknowledged
        # One that had started was cancelled: its next run is told that it is not the first. Others are dropped where
        # a consumer stops; and where it does not, they count, so that nothing vanishes again and again.
        started = delivery in self._running
        self._forget(delivery)
        consumer = self._consumer
        stopping = not self._open or consumer.connection is None or consumer.controller.blueprint.state != RUN
        if stopping and not started:
            self._give_back(delivery)
        else:
            self._listener.release(delivery, reason="its request vanished")

    def _forget(self, delivery: Delivery) -> None:
        self._messages.pop(delivery, None)
        self._running.discard(delivery)

    def _empty_inbox(self) -> None:
        for delivery in self._inbox.empty():
            self._give_back(delivery)

    def _give_back(self, delivery: Delivery) -> None:
        self._listener.release(delivery, counted=False, reason="its worker could not start it")


def _backoff_ms(delivery: Delivery) -> int:
    return int(min(BACKOFF_LAST_MS, BACKOFF_FIRST_MS * 2.0 ** min(delivery.redeliveries, 30)))
