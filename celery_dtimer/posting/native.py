"""A call that is no post, as Celery itself would make it: for calls that the timer can't take."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celery_dtimer.celery_patches.apps import library_errors, set_native_eta
from celery_dtimer.extension import DeliveryInfo
from celery_dtimer.posting.routing import exchanges_of, name_of


@dataclass(frozen=True)
class Retried:
    """A fired task that is being retried.

    Attributes:
        delivery: The delivery that it came from.
        delivery_info: The request's: the exchange and the routing key of its message.
    """

    delivery: DeliveryInfo
    delivery_info: Mapping[str, Any]

    def stays(self, exchange: str, routing_key: str) -> bool:
        """Whether a message goes where the retried one went: then it stays in the queue of its event."""
        info = self.delivery_info
        return (exchange, routing_key) == (info.get("exchange") or "", info.get("routing_key") or "")


@dataclass(frozen=True)
class NativeCall:
    """A call that goes to the timer under takeover, or as a retry.

    Attributes:
        call: The parameters of ``send_task``.
        retried: The task that it retries, if the timer has fired that.
        taken_over: Whether ``dtimer_takeover`` takes it, wherever it goes. A retry alone stays in the timer only if it
            stays in its queue: the workers of another queue may have no timer.
    """

    call: Mapping[str, Any]
    retried: Retried | None
    taken_over: bool

    @property
    def named(self) -> bool:
        """Whether the call names a queue."""
        return self.call.get("queue") is not None

    def publish(self, app: Any, body: Any, options: Mapping[str, Any]) -> None:
        """Publish the message to the broker, as Celery would have done.

        Args:
            app: The Celery app.
            body: The argument of ``Producer.publish``, for a call without a countdown or an eta.
            options: Its other arguments. Without a ``retry_policy`` it is not tried again.
        """
        message = {**options, "retry": options.get("retry_policy") is not None}
        exchange, routing_key = name_of(message.get("exchange")), message.get("routing_key") or ""
        if exchange and self.retried is not None and not self.named and self.retried.stays(exchange, routing_key):
            # There alone, as its event was: the exchange may lead to other queues too.
            message |= {"exchange": "", "routing_key": self.retried.delivery.queue}
        # Natively a call before this one may have declared the exchange, with a queue that it named. For brokers that
        # have no exchanges, kombu takes one that it does not know for a direct one, and drops what leads nowhere.
        message["declare"] = [*(message.get("declare") or ()), *exchanges_of(app, message.get("exchange"))]
        set_native_eta(app, self.call, body, message)
        source = self.call.get("producer") or self.call.get("publisher")
        with app.producer_or_acquire(source) as producer, library_errors(producer):
            producer.publish(body, **message)
