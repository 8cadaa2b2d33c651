"""The producer that Celery publishes with: it stores the message in the timer."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple, Self

from kombu.entity import Exchange
from kombu.exceptions import EncodeError
from kombu.messaging import Producer
from kombu.utils.functional import ChannelPromise

from celery_dtimer import message
from celery_dtimer.errors import InvalidEventError, PayloadError, TimerFullError, TimerUnavailableError
from celery_dtimer.extension import DELIVERY_HEADER, Extension
from celery_dtimer.posting.groups import Members
from celery_dtimer.posting.posting import Posting
from celery_dtimer.posting.routing import queue_of
from celery_dtimer.posting.storing import store
from celery_dtimer.timer.checks import check_id, check_payload, check_queue, kind_of
from celery_dtimer.timer.events import NewEvent

logger = logging.getLogger(__name__)

#: The exchange of a producer whose message names none; kombu would make one for each producer.
DEFAULT_EXCHANGE = Exchange("")


class Prepared(NamedTuple):
    """A message between ``prepare_message`` and ``basic_publish``: as it is, since the timer has a form of its own."""

    body: Any
    priority: int | None
    content_type: str
    content_encoding: str
    headers: dict[str, Any]
    properties: dict[str, Any]


class TimerProducer(Producer):
    """The ``kombu.Producer`` of ``app.send_task``, for one call, and the channel that it publishes to.

    So a message passes all of kombu's steps to a channel, and monitoring tools that patch ``Producer.publish`` see a
    post as well.

    Args:
        extension: The app's timer.
        posting: When the task is due.
        policy: Celery's ``task_publish_retry_policy``, or None not to retry.
        named: Whether the call named a queue.
    """

    def __init__(self, extension: Extension, posting: Posting, policy: dict[str, Any] | None, *, named: bool) -> None:
        super().__init__(  # type: ignore[no-untyped-call] # kombu has types for a part only
            None, exchange=DEFAULT_EXCHANGE, auto_declare=False
        )
        self._channel: Any = ChannelPromise(self._broker_channel)
        self._extension = extension
        self._posting = posting
        self._policy = policy
        self._named = named
        self._broker: Any = None
        self._declared: list[Any] = []
        self._is_stored = True

    def __repr__(self) -> str:
        # Not kombu's own, which shows the channel.
        return f"<TimerProducer of {self._extension.app!r}>"

    @property
    def connection(self) -> Any:
        """No connection to the broker: none is opened for a post."""
        return NO_CONNECTION

    def _broker_channel(self) -> Any:
        """A channel to the broker, for the rpc:// result backend, which declares its reply queue at each call."""
        self._broker = self._extension.app.pool.acquire(block=True)
        return self._broker.default_channel

    def close(self) -> None:
        """Give back what ``_broker_channel`` took, and be no channel any more."""
        self._channel = None
        if self._broker is not None:
            self._broker.release()

    def publish(self, body: Any, *args: Any, **options: Any) -> None:
        """Store the message, or publish it after all; the parameters are those of ``kombu.Producer.publish``."""
        self._channel = self
        native = self._posting.native
        try:
            # Retries are the post's own, in basic_publish.
            super().publish(  # type: ignore[no-untyped-call] # kombu has types for a part only
                body, *args, **{**options, "retry": False}
            )
        except (InvalidEventError, TimerFullError, TimerUnavailableError) as exc:
            if native is None:
                raise
            self._is_stored = False
            if not isinstance(exc, InvalidEventError) or exc.argument != "exchange":
                name = native.call.get("name")
                logger.warning(
                    "dtimer: task %s was refused by the timer, and goes to the broker: %s",
                    name,
                    exc,
                    extra={"dtimer_task": name},
                )
        if native is not None and self._is_stored and isinstance(self._posting.batch, Members):
            again = {**options, "retry_policy": self._policy}
            self._posting.batch.otherwise(partial(native.publish, self._extension.app, body, again), self._policy)
        if native is not None and not self._is_stored:
            native.publish(self._extension.app, body, {**options, "retry_policy": self._policy})

    def _prepare(
        self,
        body: Any,
        serializer: str | None = None,
        content_type: str | None = None,
        content_encoding: str | None = None,
        compression: str | None = None,
        headers: Any = None,
    ) -> Any:
        if self._posting.lesson is not None:
            self._posting.lesson.body, self._posting.lesson.serializer = body, serializer
        try:
            return super()._prepare(  # type: ignore[no-untyped-call] # kombu has types for a part only
                body, serializer, content_type, content_encoding, compression, headers
            )
        except (EncodeError, TypeError, ValueError) as exc:
            raise PayloadError(
                f"the arguments of {headers.get('task')} must suit the serializer {serializer or 'json'}: {exc}",
                argument="args",
                value=type(body),
            ) from exc

    def maybe_declare(self, entity: Any, retry: bool = False, **retry_policy: Any) -> None:
        """Note the queue that Celery would have declared."""
        del retry, retry_policy
        self._declared.append(entity)

    # --- as a channel

    prepare_message = Prepared

    def basic_publish(self, prepared: Prepared, exchange: str = "", routing_key: str = "", **options: Any) -> None:
        """Store a message, unless it is a retry into a queue that is not the timer's.

        Args:
            prepared: The message.
            exchange: Name of its exchange.
            routing_key: Its routing key.
            options: ``mandatory`` and the like, which are the broker's.
        """
        del options
        event = self._event(prepared, exchange, routing_key or "")
        if event is None:
            self._is_stored = False
            return
        store(self._extension, event, self._posting, self._policy)

    def _event(self, prepared: Prepared, exchange: str, routing_key: str) -> NewEvent | None:
        """Return the event that a message is stored as; None for a retry into a queue that is not the timer's."""
        headers = {name: value for name, value in (prepared.headers or {}).items() if name != DELIVERY_HEADER}
        properties = {"priority": prepared.priority, **(prepared.properties or {})}
        event_id = check_id(headers.get("id") or properties.get("correlation_id"))
        queue = self._queue(exchange, routing_key)
        if queue is None:
            return None
        data = prepared.body
        if not isinstance(data, str | bytes):
            raise PayloadError(
                f"the body must be serialized already with content_type={prepared.content_type!r}, got a "
                f"{type(data).__name__}: leave content_type to the serializer",
                argument="content_type",
                value=prepared.content_type,
            )
        stored = message.StoredMessage(
            body=data.encode() if isinstance(data, str) else data,
            content_type=prepared.content_type,
            content_encoding=prepared.content_encoding,
            headers=headers,
            properties={name: value for name, value in properties.items() if value is not None},
            exchange=exchange,
            routing_key=routing_key,
        )
        try:
            payload = message.encode(stored, event_id, queue)
        except (EncodeError, TypeError, ValueError) as exc:
            raise PayloadError(
                f"the headers of {headers.get('task')} must be storable as JSON: {exc}",
                argument="headers",
                value=list(headers),
            ) from exc
        if self._posting.lesson is not None:
            self._posting.lesson.message, self._posting.lesson.declared = stored, self._declared
            self._posting.lesson.payload = payload
        settings, most = self._extension.settings, self._posting.max_redeliveries
        return NewEvent(
            id=event_id,
            payload=check_payload(payload, settings.max_payload, limited_by="dtimer_max_payload"),
            clock=self._posting.clock,
            when_ms=self._posting.when_ms,
            max_redeliveries=settings.max_redeliveries if most is None else most,
            queue=queue,
            kind=kind_of(headers.get("task")),
            tags=self._posting.tags,
        )

    def _queue(self, exchange: str, routing_key: str) -> str | None:
        """Return the queue that the event waits in, or None for a retry into a queue that is not the timer's."""
        native = self._posting.native
        retried = None if native is None else native.retried
        if retried is not None and not self._named and retried.stays(exchange, routing_key):
            return retried.delivery.queue
        queue = check_queue(queue_of(self._extension.app, exchange, routing_key, self._declared, named=self._named))
        if native is None or native.taken_over or retried is None or queue == retried.delivery.queue:
            return queue
        return None


class NoConnection:
    """A connection for Celery and monitoring tools that ask the producer for one: posting has none to a broker."""

    #: Their name for the system that has the message.
    transport = SimpleNamespace(driver_type="redis", driver_name="dtimer")

    @property
    def client(self) -> Self:
        """A channel's connection has the one that it was made from."""
        return self

    @staticmethod
    @contextmanager
    def _reraise_as_library_errors() -> Iterator[None]:
        yield


NO_CONNECTION = NoConnection()
