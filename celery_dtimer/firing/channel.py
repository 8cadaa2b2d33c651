"""What a worker is handed for a delivery, and what becomes of the event by what it decides: docs/outcomes.md.

A delivery becomes a kombu message whose channel is ours, and goes through the consumer's own task handler: nothing
of what a worker does with a task is bypassed, and what it decides comes back as the message's ack or reject.
"""

import logging
import time
import weakref
from collections.abc import Callable
from typing import Any

from celery.bootsteps import RUN
from kombu.message import Message
from vine import promise

from celery_dtimer.extension import DeliveryInfo
from celery_dtimer.firing.capacity import UNLIMITED
from celery_dtimer.message import StoredMessage
from celery_dtimer.timer.events import Delivery
from celery_dtimer.timer.listener import Listener

logger = logging.getLogger(__name__)

#: Where a request sees its delivery: ``request.dtimer``.
DELIVERY_HEADER = "dtimer"

#: A requeued event waits so many milliseconds before it is claimed again: doubled each time, up to the last.
BACKOFF_FIRST_MS, BACKOFF_LAST_MS = 500, 60_000

#: Seconds for which a worker leaves an event whose task it does not know to others, before it parks it.
UNKNOWN_TASK_PATIENCE = 3600.0


class EventMessage(Message):
    """A delivery as a kombu message. Unlike kombu's own, it can be referred to weakly."""


class Channel:
    """Hands deliveries to a worker, and tells the listener what became of each.

    A delivery's lease is renewed for as long as its message is referred to: by its request, wherever in the worker
    that waits or runs. A message that is gone without an ack had a request that vanished, and is released. One whose
    task was cancelled is renewed no more: it is confirmed if it had ended before, released when it is gone, or lapses.

    Args:
        consumer: The worker's ``celery.worker.consumer.Consumer``.

    Attributes:
        listener: What claims, and is told; it asks this channel whether deliveries are alive, so that it is made later.
        is_open: Whether the worker is to be handed anything; what vanishes while it is not counts as not started.
    """

    listener: Listener

    #: What kombu asks a channel for before it acks.
    no_ack_consumers = None

    def __init__(self, consumer: Any) -> None:
        self.is_open = False
        self._consumer = consumer
        self._handler: Any = None
        self._messages: dict[Delivery, weakref.ref[EventMessage]] = {}
        self._running: set[Delivery] = set()  # their tasks have started
        self._cancelled: set[Delivery] = set()  # and were ended by Celery, which may notice much later
        self._refused: dict[str, float] = {}  # id of an event whose task is unknown here -> first refused at

    # --- in the thread that fires

    def open(self) -> None:
        """Hand deliveries to the consumer as it is now."""
        options = {} if self._consumer.hub else {"promise": _at_once}
        self._handler = self._consumer.create_task_handler(**options)
        self.is_open = True

    def fire(self, delivery: Delivery, stored: StoredMessage) -> None:
        """Hand a delivery to the worker, or tell the listener why not."""
        try:
            self._fire(delivery, stored)
        except Exception as exc:
            logger.exception("dtimer: task %s could not be fired", delivery.id)
            self.listener.release(delivery, backoff_ms=_backoff_ms(delivery), reason=f"it could not be fired: {exc!r}")

    def _fire(self, delivery: Delivery, stored: StoredMessage) -> None:
        try:
            event = self._message(delivery, stored)
            body = event.decode()  # type: ignore[no-untyped-call] # kombu has types for a part only
            if "task" in stored.headers:
                # Celery fails on anything else, with an error that ends a worker if the broker sent it.
                args, kwargs, _ = body
                _, _ = [*args], {**kwargs}
        except Exception as exc:  # noqa: BLE001 - whatever a serializer raises
            self.park(delivery, exc)
            return
        name = stored.headers.get("task")
        if name is not None and name not in self._consumer.strategies:
            self._refuse(delivery, name)
            return
        self._refused.pop(delivery.id, None)
        self._messages[delivery] = weakref.ref(event, lambda _: self._vanished(delivery))
        self._handler(event)

    def _message(self, delivery: Delivery, stored: StoredMessage) -> EventMessage:
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
            self.listener.park(delivery, f"no worker knows the task {name!r}")
            return
        if first == now:
            logger.warning("dtimer: task %s is left to others, since %r is not registered here", delivery.id, name)
        backoff = min(max((now - first) / 4, BACKOFF_FIRST_MS / 1000), BACKOFF_LAST_MS / 1000)
        self.listener.release(delivery, backoff_ms=int(backoff * 1000), counted=False, reason="unknown task")
        while len(self._refused) > UNLIMITED:
            del self._refused[next(iter(self._refused))]

    # --- in any thread

    def park(self, delivery: Delivery, exc: Exception) -> None:
        """Keep aside what can't be decoded: left to itself, the consumer would ack it, and it would be gone."""
        logger.error("dtimer: task %s can't be decoded, and is parked", delivery.id, exc_info=exc)
        self.listener.park(delivery, f"can't be decoded: {exc!r}")

    def give_back(self, delivery: Delivery) -> None:
        """Release what has not started here."""
        self.listener.release(delivery, counted=False, reason="its worker could not start it")

    def is_alive(self, delivery: Delivery) -> bool:
        """Whether its request lives, or is yet to be made, and was not cancelled."""
        reference = self._messages.get(delivery)
        return (reference is None or reference() is not None) and delivery not in self._cancelled

    # --- called by the pool

    def is_ours(self, request: Any) -> bool:
        """Whether the request is of a delivery."""
        message = getattr(request, "message", None)
        return isinstance(message, EventMessage) and message.channel is self

    def on_accepted(self, request: Any) -> None:
        """Its task starts."""
        self._running.add(request.message.delivery_tag)

    def on_cancelled(self, request: Any) -> None:
        """A cold shutdown, or the loss of the broker's connection, has ended its task, or come too late for that."""
        delivery = request.message.delivery_tag
        if delivery not in self._messages:
            return  # acknowledged
        if self._consumer.pool.is_green:
            self._forget(delivery)
            self.listener.release(delivery, reason="its task was cancelled")
        else:
            # Its process may have ended the task before, or may take a while to end now.
            self._cancelled.add(delivery)

    # --- called by the message

    def basic_ack(self, delivery_tag: Delivery, multiple: bool = False) -> None:
        """Confirm the event: its message was acknowledged."""
        del multiple
        self._forget(delivery_tag)
        self.listener.confirm(delivery_tag)

    def basic_reject(self, delivery_tag: Delivery, requeue: bool = False) -> None:
        """Release the event, or park it."""
        self._forget(delivery_tag)
        if requeue:
            self.listener.release(delivery_tag, backoff_ms=_backoff_ms(delivery_tag), reason="its task was requeued")
        else:
            self.listener.park(delivery_tag, "its task was rejected")

    def _vanished(self, delivery: Delivery) -> None:
        # May be called by the garbage collector, in any thread, in the middle of anything: no locks, no logging.
        if delivery not in self._messages:
            return  # acknowledged
        # One that had started was cancelled: its next run is told that it is not the first. Others are dropped where
        # a consumer stops; and where it does not, they count, so that nothing vanishes again and again.
        started = delivery in self._running
        self._forget(delivery)
        consumer = self._consumer
        stopping = not self.is_open or consumer.connection is None or consumer.controller.blueprint.state != RUN
        if stopping and not started:
            self.give_back(delivery)
        else:
            self.listener.release(delivery, reason="its request vanished")

    def _forget(self, delivery: Delivery) -> None:
        self._messages.pop(delivery, None)
        self._running.discard(delivery)
        self._cancelled.discard(delivery)


def _at_once(call_soon: Callable[..., Any], act: tuple[Callable[..., Any]], **options: Any) -> Any:
    """Promise an ack or a reject that is not put off, where there is no hub.

    Celery 5.5 puts it off there until the broker's connection has a message, or for two seconds. A hub puts it off for
    a moment, in which more of them may come, for one call of the listener's.
    """
    del call_soon
    return promise(*act, **options)


def _backoff_ms(delivery: Delivery) -> int:
    return int(min(BACKOFF_LAST_MS, BACKOFF_FIRST_MS * 2.0 ** min(delivery.redeliveries, 30)))
