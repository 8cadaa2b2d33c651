"""What Celery publishes with: a producer that stores the message in the timer."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from kombu.compression import compress
from kombu.entity import maybe_delivery_mode
from kombu.exceptions import EncodeError
from kombu.serialization import dumps
from kombu.utils.functional import retry_over_time

from celery_dtimer import message
from celery_dtimer.errors import EventExistsError, NotReplicatedError, PayloadError, TimerUnavailableError
from celery_dtimer.extension import Extension
from celery_dtimer.posting.routing import queue_of
from celery_dtimer.timer.events import NewEvent, check_id, check_payload, check_queue
from celery_dtimer.timer.times import ms_to_datetime

logger = logging.getLogger(__name__)

#: The request's view of its own delivery; never part of a message.
DELIVERY_HEADER = "dtimer"


@dataclass(frozen=True)
class Posting:
    """What the timer is told beside the message.

    Attributes:
        clock: ``"in"`` if ``when_ms`` counts from now, ``"at"`` if it is an instant in milliseconds.
        on_conflict: What a pending event of the same id means, see ``DTimer.post``; or ``"follow"``, for a retry: as
            ``"replace"``, and stored in a Redis at its maxmemory too.
    """

    clock: Literal["in", "at"]
    when_ms: int
    max_redeliveries: int | None = None
    on_conflict: str = "error"
    max_wait_ms: int = 0


class TimerProducer:
    """Stands in for a ``kombu.Producer`` in ``app.send_task``, for one call.

    Args:
        extension: The app's timer.
        posting: When the task is due.
        policy: Celery's ``task_publish_retry_policy``, or None not to retry.
    """

    def __init__(self, extension: Extension, posting: Posting, policy: dict[str, Any] | None) -> None:
        self._extension = extension
        self._posting = posting
        self._policy = policy
        self._broker: Any = None
        self.connection = _NoConnection()

    @property
    def channel(self) -> Any:
        """A channel to the broker, for the rpc:// result backend, which declares its reply queue at each call."""
        if self._broker is None:
            self._broker = self._extension.app.pool.acquire(block=True)
        return self._broker.default_channel

    def close(self) -> None:
        """Give back what ``channel`` took."""
        if self._broker is not None:
            self._broker.release()

    def publish(
        self,
        body: Any,
        *,
        routing_key: str = "",
        exchange: Any = "",
        serializer: str | None = None,
        compression: str | None = None,
        headers: dict[str, Any] | None = None,
        declare: Any = None,
        expiration: float | None = None,
        **properties: Any,
    ) -> None:
        """Store the message; the parameters are those of ``kombu.Producer.publish``."""
        for name in ("retry", "retry_policy", "timeout", "confirm_timeout", "mandatory", "immediate"):
            properties.pop(name, None)
        headers = {name: value for name, value in (headers or {}).items() if name != DELIVERY_HEADER}
        try:
            content_type, content_encoding, data = dumps(body, serializer=serializer)
        except (EncodeError, TypeError, ValueError) as exc:
            raise PayloadError(
                f"the serializer {serializer or 'json'} refuses the arguments of {headers.get('task')}: {exc}",
                argument="args",
                value=type(body),
            ) from exc
        if compression:
            data, headers["compression"] = compress(data, compression)
        if expiration is not None:
            properties["expiration"] = str(int(expiration * 1000))
        if "delivery_mode" in properties:
            properties["delivery_mode"] = maybe_delivery_mode(properties["delivery_mode"])
        event_id = check_id(headers.get("id") or properties.get("correlation_id"))
        exchange_name = str(getattr(exchange, "name", exchange) or "")
        queues = self._extension.app.amqp.queues.values()
        queue = check_queue(queue_of(queues, exchange_name, routing_key or "", declare))
        stored = message.StoredMessage(
            body=data.encode() if isinstance(data, str) else data,
            content_type=content_type,
            content_encoding=content_encoding,
            headers=headers,
            properties={name: value for name, value in properties.items() if value is not None},
            exchange=exchange_name,
            routing_key=routing_key or "",
        )
        try:
            payload = message.encode(stored, event_id, queue)
        except (EncodeError, TypeError, ValueError) as exc:
            raise PayloadError(
                f"a header of {headers.get('task')} can't be stored as JSON: {exc}",
                argument="headers",
                value=list(headers),
            ) from exc
        self._post(event_id, queue, payload)

    def _post(self, event_id: str, queue: str, payload: bytes) -> None:
        settings, posting = self._extension.settings, self._posting
        count = posting.max_redeliveries
        event = NewEvent(
            id=event_id,
            payload=check_payload(payload, settings.max_payload),
            clock=posting.clock,
            when_ms=posting.when_ms,
            max_redeliveries=settings.max_redeliveries if count is None else count,
            queue=queue,
        )
        shards = self._extension.shards
        conflict = posting.on_conflict

        def attempt() -> int:
            try:
                return shards.post([event], conflict=conflict, max_wait_ms=posting.max_wait_ms)[0]
            except NotReplicatedError as exc:
                if posting.on_conflict != "follow":
                    raise
                # Celery would reject, and so park, the delivery that is being retried, beside the event that is stored.
                logger.warning("task %s is retried: %s", event_id, exc, extra={"dtimer_event": event_id})
                return 0

        def repeat(exc: Exception, interval: float) -> float:
            nonlocal conflict
            # The first attempt may have been carried out: what it stored is no conflict.
            conflict = "again" if posting.on_conflict == "error" else posting.on_conflict
            logger.debug("posting event %s again in %s s: %s", event_id, interval, exc)
            return interval

        if self._policy is None:
            due_ms = attempt()
        else:
            steps = {name: self._policy[name] for name in RETRY_OPTIONS if name in self._policy}
            due_ms = retry_over_time(attempt, (TimerUnavailableError,), errback=_with_interval(repeat), **steps)
        if due_ms < 0:
            raise EventExistsError(
                f"task {event_id!r} is pending already, due at {ms_to_datetime(-due_ms).isoformat()}: say what that "
                "means with on_conflict='keep', 'replace' or 'postpone'",
                event_id=event_id,
                due_ms=-due_ms,
            )


#: What retry_over_time takes of a publish retry policy.
RETRY_OPTIONS = ("max_retries", "interval_start", "interval_step", "interval_max")


def _with_interval(repeat: Any) -> Any:
    """An errback as retry_over_time calls it: with the error, the intervals to come, and the count."""

    def errback(exc: Exception, intervals: Iterator[float], retries: int) -> float:
        del retries
        return float(repeat(exc, next(intervals)))

    return errback


class _NoConnection:
    """The one thing that send_task asks of a producer's connection: posting has no broker to speak of."""

    @staticmethod
    @contextmanager
    def _reraise_as_library_errors() -> Iterator[None]:
        yield


class SentEvents:
    """Sends ``task-sent`` monitoring events to the broker, where they belong, with the task's eta.

    A broker that is away is no reason to fail: the task is stored already.
    """

    def __init__(self, app: Any, eta: str) -> None:
        self._app = app
        self._eta = eta

    def publish(self, kind: str, fields: dict[str, Any], producer: Any, **options: Any) -> None:
        """Publish with a producer of the broker's in place of ours."""
        del producer
        # In place of what the post's own retries are: a post waits no longer for monitoring than for one more try.
        policy = {**self._app.conf.task_publish_retry_policy, "max_retries": 1}
        options = {**options, "retry": True, "retry_policy": policy}
        try:
            with self._app.amqp.producer_pool.acquire(block=True) as broker:
                self._app.events.Dispatcher(enabled=False, buffer_while_offline=False).publish(
                    kind, {**fields, "eta": self._eta}, broker, **options
                )
        except Exception as exc:  # noqa: BLE001 - any broker's any error
            logger.warning("task %s is stored, but its task-sent event was not sent: %r", fields.get("uuid"), exc)
