"""What goes through the timer: events to post, deliveries that were claimed, and answers about them."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from celery_dtimer.errors import InvalidEventError, PayloadTooLargeError
from celery_dtimer.timer.times import ms_to_datetime

#: Longest id of an event, in bytes of UTF-8.
MAX_ID_BYTES = 200

#: Longest name of a queue, in bytes of UTF-8: AMQP's own limit.
MAX_QUEUE_BYTES = 255

#: What a post means for a pending event of the same id.
OnConflict = Literal["error", "keep", "replace", "postpone"]
ON_CONFLICT: Sequence[str] = ("error", "keep", "replace", "postpone")


@dataclass(frozen=True)
class NewEvent:
    """An event to be posted.

    Attributes:
        id: Its name in the namespace, 1 to 200 bytes.
        payload: What is delivered, as it is.
        clock: ``"in"`` if ``when_ms`` counts from now by the server's clock, ``"at"`` if it is an instant.
        when_ms: Milliseconds.
        max_redeliveries: So often it may be claimed again before it is parked; 0: delivered once, no
            confirm awaited (``maxRetries`` of the original dtimer).
    """

    id: str
    payload: bytes
    clock: Literal["in", "at"]
    when_ms: int
    max_redeliveries: int
    queue: str = "default"


def _utf8_size(text: str) -> int:
    """Return how many bytes of UTF-8 the text has; 0 if it has none, since it has half a surrogate pair."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 0


def check_id(event_id: object) -> str:
    """Return the id, or raise InvalidEventError if it is no text of 1 to 200 bytes."""
    if not isinstance(event_id, str):
        raise InvalidEventError(
            f"an event's id is a string, not {event_id!r} ({type(event_id).__name__})",
            argument="id",
            value=event_id,
        )
    size = _utf8_size(event_id)
    if not 1 <= size <= MAX_ID_BYTES:
        raise InvalidEventError(
            f"an event's id has 1 to {MAX_ID_BYTES} bytes of UTF-8, not {size}: {event_id[:50]!r}",
            argument="id",
            value=event_id,
        )
    return event_id


def check_queue(queue: object) -> str:
    """Return the queue's name, or raise InvalidEventError if it is no text of 1 to 255 bytes."""
    if not isinstance(queue, str) or not 1 <= _utf8_size(queue) <= MAX_QUEUE_BYTES:
        raise InvalidEventError(
            f"a queue's name is a string of 1 to {MAX_QUEUE_BYTES} bytes, not {queue!r}",
            argument="queue",
            value=queue,
        )
    return queue


def check_max_redeliveries(count: object) -> int:
    """Return the count, or raise InvalidEventError if it is no whole number from 0 on."""
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < 2**31:
        raise InvalidEventError(
            f"max_redeliveries is a whole number from 0 on, not {count!r}",
            argument="max_redeliveries",
            value=count,
        )
    return count


def check_payload(payload: object, limit: int) -> bytes:
    """Return the payload as bytes; text is encoded as UTF-8.

    Raises:
        InvalidEventError: It is neither bytes nor text.
        PayloadTooLargeError: It has more than ``limit`` bytes.
    """
    if isinstance(payload, str):
        try:
            payload = payload.encode()
        except UnicodeEncodeError as exc:
            raise InvalidEventError(f"the payload is no text: {exc}", argument="payload", value=payload) from exc
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise InvalidEventError(
            f"a payload is bytes or a string, not {type(payload).__name__}", argument="payload", value=payload
        )
    data = bytes(payload)
    if len(data) > limit:
        raise PayloadTooLargeError(
            f"the payload has {len(data)} bytes, and the setting dtimer_max_payload allows {limit}",
            size=len(data),
            limit=limit,
        )
    return data


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """An event in the hands of a listener, under a lease.

    Attributes:
        id: The event's id.
        payload: What was posted.
        queue: The queue that it was posted to.
        due_ms: When it was due by the server's clock, in milliseconds since 1970.
        redeliveries: How often it was delivered before and not confirmed.
        max_redeliveries: How often it may be.
        key: Name of the lease, the same for all deliveries of one posted event.
        token: New at every claim; empty if no confirm is awaited (``max_redeliveries=0``).
        due_monotonic: When it was due on this process's monotonic clock, in seconds; up to a round trip too late.
        shard: Number of the shard that it was claimed from.

    Two deliveries are never equal: each is one claim.
    """

    id: str
    payload: bytes = field(repr=False)
    queue: str
    due_ms: int
    redeliveries: int
    max_redeliveries: int
    key: str
    token: str
    due_monotonic: float = 0.0
    shard: int = 0

    @property
    def due_at(self) -> datetime:
        """When it was due, in UTC."""
        return ms_to_datetime(self.due_ms)


class State(enum.StrEnum):
    """Where an event is."""

    PENDING = "pending"
    LEASED = "leased"
    PARKED = "parked"


class Cancellation(enum.Enum):
    """What a cancel found. Truthy only if the event will not run."""

    CANCELLED = "cancelled"
    DELIVERED = "delivered"
    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        """Whether the event was ended before it was delivered."""
        return self is Cancellation.CANCELLED


@dataclass(frozen=True)
class EventInfo:
    """What ``peek`` saw.

    Attributes:
        due_at: When it is, or was, due, in UTC.
        redeliveries: How often it was delivered and not confirmed.
        holder: Name of the listener that holds it, while it is leased.
        until: When its lease lapses, while it is leased; since when it is parked; else ``due_at``.
        reason: Why it is parked.
    """

    id: str
    state: State
    queue: str
    due_at: datetime
    payload: bytes
    redeliveries: int
    max_redeliveries: int
    holder: str | None
    until: datetime
    reason: str | None


@dataclass(frozen=True)
class Upcoming:
    """One pending event in a page of ``upcoming``; ``payload`` is None unless it was asked for."""

    id: str
    queue: str
    due_at: datetime
    payload: bytes | None


@dataclass(frozen=True)
class Counts:
    """How many events there are, by state."""

    pending: int
    leased: int
    parked: int
