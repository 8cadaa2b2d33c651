"""Hands deliveries to a worker, and turns its decisions into their outcomes: docs/explanation/outcomes.md.

A delivery becomes a kombu message whose channel is ours, and goes through the consumer's own task handler: nothing
of a worker's treatment of tasks is bypassed, and its decision comes back as the message's ack or reject.
"""

import logging
import time
from collections import deque
from typing import Any

from celery.bootsteps import RUN

from celery_dtimer.celery_patches.worker import EventMessage, ack_at_once, show_etas
from celery_dtimer.counters import Counters
from celery_dtimer.extension import DELIVERY_HEADER, DeliveryInfo
from celery_dtimer.firing.backoff import backoff_ms
from celery_dtimer.firing.fields import UnfitMessageError, check_body, check_fields
from celery_dtimer.firing.inbox import Prepared
from celery_dtimer.firing.misfires import Misfires, Policy, hand_over_expired
from celery_dtimer.firing.refusals import Refusals
from celery_dtimer.firing.requests import Requests
from celery_dtimer.message import NewerFormatError, StoredMessage, UnknownFormatError, decode
from celery_dtimer.settings import Settings
from celery_dtimer.timer.events import Delivery
from celery_dtimer.timer.legible import legible
from celery_dtimer.timer.listening.listener import Listener
from celery_dtimer.timer.shown import last_line, shown

logger = logging.getLogger(__name__)

#: Events that ended too late and are remembered, in case this worker claims them again within milliseconds.
REMEMBERED = 1000


class Channel:
    """Hands deliveries to a worker, and tells the listener the outcome of each.

    A delivery's lease is renewed as long as its request lives, waiting or running. If a request is gone without an ack,
    its event is released. If Celery has cancelled a task, its lease is not renewed any more: it is confirmed if the
    task had ended before, released when the request is gone, or lapses.

    Args:
        consumer: The worker's ``celery.worker.consumer.Consumer``.
        listener: The listener that claims.
        requests: Where the listener learns which deliveries are alive.
        counters: Counts the fired events.
        settings: The app's; the unknown task's patience and the aliases are looked at.

    Attributes:
        is_open: Whether deliveries are handed to the worker. Requests that vanish while it is false were not started.
    """

    #: kombu asks a channel for this before it acks.
    no_ack_consumers = None

    def __init__(
        self, consumer: Any, listener: Listener, requests: Requests, counters: Counters, settings: Settings
    ) -> None:
        self.is_open = False
        self._consumer = consumer
        self._listener = listener
        self._requests = requests
        self._counters = counters
        self._handler: Any = None
        self._ended_late: deque[bytes] = deque(maxlen=REMEMBERED)  # keys of events that ended well after a lapse
        self._refusals = Refusals(settings.unknown_task_patience)
        self._aliases = settings.task_aliases or {}
        self._misfires = Misfires(consumer.app.tasks, settings)

    # --- in the listener's thread

    def accept(self, delivery: Delivery) -> StoredMessage | None:
        """Return the message of a delivery that is for this worker; else, tell the listener why not."""
        try:
            stored = decode(delivery.payload, delivery.id, delivery.queue)
            if "task" in stored.headers:
                check_fields(stored.headers)
        except NewerFormatError:
            self._leave(delivery, f"version {delivery.payload[:1].decode()!r} of stored messages")
            return None
        except (UnknownFormatError, UnfitMessageError) as exc:
            self._park(delivery, exc)
            return None
        return None if self._left("task" in stored.headers, stored.headers, delivery) else stored

    def _left(self, names_a_task: bool, fields: dict[str, Any], delivery: Delivery) -> bool:
        """Whether a delivery is left to other workers, since this one does not know its task, nor by another name.

        One that it knows by another name gets that.
        """
        if not names_a_task:
            return False
        name = fields["task"]
        while name not in self._consumer.strategies and name in self._aliases:
            name = self._aliases[name]
        if name in self._consumer.strategies:
            fields["task"] = name
            return False
        self._leave(delivery, f"the task {legible(fields['task'])!r}")
        return True

    def _leave(self, delivery: Delivery, what: str) -> None:
        """Leave to others an event that this worker can't run: during a deploy some are older than others.

        Not counted, since in a large fleet all its redeliveries would be used up within seconds; but this worker
        asks for it less and less often, and parks it after it has been unknown for long.

        Args:
            delivery: One that has not been handed over.
            what: The knowledge that a worker needs to run it: "the task 'x'".
        """
        kind, is_new = self._refusals.kind(what)
        seconds = self._refusals.wait(kind, delivery)
        event_id = legible(delivery.id)
        extra = {"dtimer_event": delivery.id, "dtimer_queue": delivery.queue}
        if seconds is None:
            if not kind.is_parked:
                kind.is_parked = True
                logger.error(
                    "dtimer: task %s is parked, since no worker has known %s for %g s; so is all else that needs it",
                    event_id,
                    kind.name,
                    self._refusals.patience,
                    extra=extra,
                )
            self._listener.park(delivery, f"no worker knows {kind.name}")
            return
        if is_new:
            logger.warning(
                "dtimer: task %s is left to others, since this worker does not know %s; so is all else that needs it",
                event_id,
                kind.name,
                extra=extra,
            )
        self._listener.leave(delivery, round(seconds * 1000))

    # --- in the thread that fires

    def open(self) -> None:
        """Hand deliveries to the consumer as it is now."""
        show_etas(self._consumer.app)
        self._handler = self._consumer.create_task_handler(**({} if self._consumer.hub else {"promise": ack_at_once}))
        self.is_open = True

    def fire(self, prepared: Prepared) -> None:
        """Hand a delivery to the worker, or tell the listener why not; never raise."""
        delivery, stored = prepared.delivery, prepared.message
        try:
            if self._listener.has_lapsed(delivery):
                # Something kept this worker from renewing it, and from starting it: others run it by now.
                self.give_back(delivery)
            elif delivery.redeliveries and delivery.key in self._ended_late:
                self._listener.confirm(delivery)  # claimed here again before its end was reported
            elif delivery.redeliveries and (other := self._requests.adopt(delivery, self._vanished)) is not None:
                self._listener.forget(other)  # it runs here still: the new lease takes the place of its lost one
            elif (event := self._readable(delivery, stored)) is not None:
                event.due = prepared.due
                fields = event.headers if "task" in stored.headers else event.payload
                policy = self._misfires.decide(delivery, fields)
                if policy is not None:
                    self._miss(delivery, event, fields, policy)
                    return
                self._requests.add(delivery, event, self._vanished)
                self._counters.fired(delivery, stored, event.headers[DELIVERY_HEADER].lateness)
                self._handler(event)
        except Exception as exc:  # noqa: BLE001 - an error of one delivery must not stop the others
            self.failed(delivery, exc)

    def _miss(self, delivery: Delivery, event: EventMessage, fields: dict[str, Any], policy: Policy) -> None:
        """Park or drop what is later than its grace."""
        if policy.misfire == "park":
            self._listener.park(delivery, f"later than its grace of {policy.grace:g} s")
            return
        self._requests.add(delivery, event, self._vanished)
        self._counters.dropped(delivery)
        hand_over_expired(self._consumer, self._handler, event, fields)

    def _readable(self, delivery: Delivery, stored: StoredMessage) -> EventMessage | None:
        """Return the message that a worker is given; None if it can't read it, or does not know its task."""
        try:
            event = self._message(delivery, stored)
            body = event.decode()  # type: ignore[no-untyped-call] # kombu has types for a part only
            in_body = "task" not in stored.headers and isinstance(body, dict) and "task" in body
            if "task" in stored.headers:
                check_body(body)
            elif in_body:
                check_fields(body)  # protocol 1
        except Exception as exc:  # noqa: BLE001 - whatever a serializer raises
            self._park(delivery, exc)
            return None
        return None if self._left(in_body, body, delivery) else event

    def _message(self, delivery: Delivery, stored: StoredMessage) -> EventMessage:
        info = DeliveryInfo(
            due_at=delivery.due_at,
            lateness=max(0.0, time.monotonic() - delivery.due_monotonic),
            redeliveries=delivery.redeliveries,
            max_redeliveries=delivery.max_redeliveries,
            queue=delivery.queue,
            key=delivery.key,
            tags=delivery.tags,
        )
        return EventMessage(  # type: ignore[no-untyped-call] # kombu has types for a part only
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

    # --- in any thread

    def failed(self, delivery: Delivery, exc: Exception) -> None:
        """Release a delivery that could not be handed over, by a defect of ours or of the worker's."""
        logger.error(
            "dtimer: task %s could not be fired, and is released",
            legible(delivery.id),
            exc_info=exc,
            extra={"dtimer_event": delivery.id},
        )
        self._listener.release(
            delivery,
            backoff_ms=backoff_ms(delivery),
            reason=f"it could not be fired: {shown(exc)}",
            error=last_line(exc),
        )

    def _park(self, delivery: Delivery, exc: Exception) -> None:
        """Keep aside an event that can't be decoded: the consumer would ack it, and it would be gone."""
        # Not its repr, in which the bytes may be that could not be read.
        why = f"can't be decoded: {type(exc).__name__}: {exc}"
        logger.error(
            "dtimer: task %s is parked: it %s",
            legible(delivery.id),
            legible(why),
            extra={"dtimer_event": delivery.id, "dtimer_queue": delivery.queue},
        )
        self._listener.park(delivery, why, last_line(exc))

    def give_back(self, delivery: Delivery) -> None:
        """Release a delivery that has not started here."""
        self._listener.release(delivery, counted=False, reason="its worker could not start it")

    # --- called by the pool

    def on_cancelled(self, request: Any) -> None:
        """Stop renewing: a cold shutdown or the loss of the broker has ended the task, or come too late for that."""
        delivery = request.message.delivery_tag
        if delivery not in self._requests:
            return  # acknowledged
        if self._consumer.pool.is_green:
            self._requests.forget(delivery)
            self._listener.release(delivery, reason="its task was cancelled")
        else:
            # Its process may have ended the task before, or may take a while to end now.
            self._requests.cancelled(delivery)

    # --- called by the message

    def basic_ack(self, delivery_tag: Delivery, multiple: bool = False) -> None:
        """Confirm the event: its message was acknowledged."""
        del multiple
        ended_well = self._requests.ended_well(delivery_tag)
        self._requests.forget(delivery_tag)
        if ended_well and self._listener.has_lapsed(delivery_tag):
            self._ended_late.append(delivery_tag.key)
        self._listener.confirm(delivery_tag, ended_well=ended_well)

    def basic_reject(self, delivery_tag: Delivery, requeue: bool = False) -> None:
        """Release the event, or park it."""
        error = self._requests.error(delivery_tag)
        self._requests.forget(delivery_tag)
        if requeue:
            delay_ms = backoff_ms(delivery_tag)
            self._listener.release(delivery_tag, backoff_ms=delay_ms, reason="its task was requeued", error=error)
        else:
            self._listener.park(delivery_tag, "its task was rejected", error)

    def _vanished(self, delivery: Delivery, started: bool) -> None:
        # One that had started was cancelled: its next run is told that it is not the first. Others are dropped where
        # a consumer stops; and where it does not, they count, so that nothing vanishes again and again.
        consumer = self._consumer
        stopping = not self.is_open or consumer.connection is None or consumer.controller.blueprint.state != RUN
        if stopping and not started:
            self.give_back(delivery)
        else:
            self._listener.release(delivery, reason="its request vanished")
