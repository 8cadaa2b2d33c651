"""Which deliveries have a request in this worker: those are alive, and their leases are renewed."""

import weakref
from collections.abc import Callable
from typing import Any

from celery_dtimer.celery_patches.worker import EventMessage
from celery_dtimer.timer.events import Delivery


def is_ours(request: Any) -> bool:
    """Whether a request is of a delivery."""
    return isinstance(getattr(request, "message", None), EventMessage)


class Requests:
    """The messages of deliveries, referred to weakly: a request refers to its message, as long as it waits or runs.

    In any thread; without a lock, since a message may be collected in the middle of anything.
    """

    def __init__(self) -> None:
        self._messages: dict[Delivery, weakref.ref[EventMessage]] = {}
        self._running: set[Delivery] = set()  # their tasks have started
        self._cancelled: set[Delivery] = set()  # Celery has ended their tasks, and may notice much later

    def add(self, delivery: Delivery, message: EventMessage, on_vanished: Callable[[Delivery, bool], None]) -> None:
        """Add a delivery.

        Args:
            delivery: The delivery.
            message: Its message.
            on_vanished: Called when the message is gone without an ack or a reject, with whether its task had started.
                The garbage collector may call it, in any thread: no locks, no logging.
        """

        def vanished(_: object) -> None:
            if delivery in self._messages:
                started = delivery in self._running
                self.forget(delivery)
                on_vanished(delivery, started)

        self._messages[delivery] = weakref.ref(message, vanished)

    def adopt(self, delivery: Delivery, on_vanished: Callable[[Delivery, bool], None]) -> Delivery | None:
        """Let a delivery take the place of an earlier one of its event that lives here still, and return that."""
        for other, reference in list(self._messages.items()):
            message = reference() if other.key == delivery.key and other not in self._cancelled else None
            if message is not None:
                message.delivery_tag = delivery
                self.add(delivery, message, on_vanished)
                if other in self._running:
                    self._running.add(delivery)
                self.forget(other)
                return other
        return None

    def is_alive(self, delivery: Delivery) -> bool:
        """Whether its request lives, or is yet to be made, and was not cancelled."""
        reference = self._messages.get(delivery)
        return (reference is None or reference() is not None) and delivery not in self._cancelled

    def ended_well(self, delivery: Delivery) -> bool:
        """Whether its task has run and succeeded."""
        reference = self._messages.get(delivery)
        message = reference() if reference is not None else None
        return message is not None and message.ended_well

    def error(self, delivery: Delivery) -> str:
        """The last line of its task's traceback; empty if its task has not failed."""
        reference = self._messages.get(delivery)
        message = reference() if reference is not None else None
        return "" if message is None else message.error

    def __contains__(self, delivery: Delivery) -> bool:
        """Return whether it was neither acknowledged nor rejected."""
        return delivery in self._messages

    def started(self, request: Any) -> None:
        """Note that its task starts."""
        self._running.add(request.message.delivery_tag)

    def cancelled(self, delivery: Delivery) -> None:
        """Note that Celery has ended its task."""
        self._cancelled.add(delivery)

    def forget(self, delivery: Delivery) -> None:
        """Drop a delivery that has ended."""
        self._messages.pop(delivery, None)
        self._running.discard(delivery)
        self._cancelled.discard(delivery)
