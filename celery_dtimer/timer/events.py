"""The values that go through the timer: events to post, claimed deliveries, and answers about them."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, NamedTuple, cast, get_args

from celery_dtimer.timer.times import ms_to_datetime

#: The effect of a post on a pending event of the same id.
OnConflict = Literal["error", "keep", "replace", "postpone"]
ON_CONFLICT: tuple[str, ...] = get_args(OnConflict)


class Plain:
    """A dataclass that is fit for JSON."""

    def as_dict(self) -> dict[str, Any]:
        """Return all but the payload as JSON has it: times in ISO 8601, in UTC."""
        return fields_of(self)


# Not frozen: that takes four times as long to make, and a post_many makes thousands.
@dataclass(slots=True)
class NewEvent:
    """An event to be posted; nothing changes it after it is made.

    Attributes:
        id: Its name in the namespace, 1 to 200 bytes.
        payload: Delivered as it is.
        clock: ``"in"`` if ``when_ms`` counts from now by the server's clock, ``"at"`` if it is an instant.
        when_ms: Milliseconds.
        max_redeliveries: Redeliveries before it is parked; 0: delivered once, without a confirm (``maxRetries`` of
            the original dtimer).
        kind: The task's name; empty for none.
        tags: Its tags, checked.
    """

    id: str
    payload: bytes = field(repr=False)
    clock: Literal["in", "at"]
    when_ms: int
    max_redeliveries: int
    queue: str = "default"
    kind: bytes = b""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """An event in the hands of a listener, under a lease.

    Attributes:
        id: The event's id.
        payload: As it was posted.
        queue: The queue that it was posted to.
        due_ms: Its due time by the server's clock, in milliseconds since 1970.
        redeliveries: Earlier deliveries that were not confirmed.
        max_redeliveries: Redeliveries before it is parked.
        key: Name of the lease, the same for all deliveries of one posted event.
        token: New at every claim; empty if no confirm is awaited (``max_redeliveries=0``).
        due_monotonic: Its due time on this process's monotonic clock, in seconds; up to the way of an answer too late.
        ready_ms: Earliest time to hand it over: its due time, or the end of the delay after a release.
        shard: Number of the shard that it was claimed from.
        tags: Its tags.

    Two deliveries are never equal: each is one claim.
    """

    id: str
    payload: bytes = field(repr=False)
    queue: str
    due_ms: int
    redeliveries: int
    max_redeliveries: int
    key: bytes
    token: str
    due_monotonic: float = 0.0
    ready_ms: int = 0
    shard: int = 0
    tags: tuple[str, ...] = ()

    @property
    def due_at(self) -> datetime:
        """Its due time, in UTC."""
        return ms_to_datetime(self.due_ms)

    @property
    def is_first(self) -> bool:
        """Whether this is its first claim, with whose token the key of a lease ends."""
        return self.key.endswith(b"\xff" + self.token.encode())


class _Delivered:
    """A delivery that is being made: setting the fields of a frozen dataclass takes three times as long."""

    __slots__ = Delivery.__slots__

    def __init__(
        self,
        id: str,  # noqa: A002 - the fields of a Delivery
        payload: bytes,
        queue: str,
        due_ms: int,
        redeliveries: int,
        max_redeliveries: int,
        key: bytes,
        token: str,
        due_monotonic: float,
        ready_ms: int,
        shard: int,
        tags: tuple[str, ...],
    ) -> None:
        self.id = id
        self.payload = payload
        self.queue = queue
        self.due_ms = due_ms
        self.redeliveries = redeliveries
        self.max_redeliveries = max_redeliveries
        self.key = key
        self.token = token
        self.due_monotonic = due_monotonic
        self.ready_ms = ready_ms
        self.shard = shard
        self.tags = tags
        self.__class__ = Delivery  # type: ignore[assignment] # both have the same fields, and nothing else


delivered = cast("Callable[..., Delivery]", _Delivered)


class Verdict(NamedTuple):
    """A decision about a delivery.

    Attributes:
        action: For Redis, see verdicts.lua: ``"confirm"``, ``"end"``, ``"renew"``, ``"release"``,
            ``"return"``, ``"leave"``, ``"park"`` or ``"put_aside"``; or for the listener alone: ``"forget"``,
            ``"renewed"``.
        delay_ms: Time before the next claim; of a renewal, the length of the lease.
        reason: Why, for an event that is parked by this.
        error: The last line of the traceback, if its delivery failed with one.
    """

    delivery: Delivery
    action: str
    delay_ms: int = 0
    reason: str = ""
    error: str = ""


class State(enum.StrEnum):
    """State of an event."""

    PENDING = "pending"
    LEASED = "leased"
    PARKED = "parked"


@dataclass(frozen=True)
class Answer(Plain):
    """What a cancel or a change found, at the instant that it was made. Truthy only if it was done.

    Attributes:
        done: Whether the event is cancelled, or moved. If not, nothing was changed.
        state: Where the event was; None if it is unknown.
        due_at: When it is due now, in UTC; of an event that is not pending, when it was.
        was_due_at: When it was due before.
        queue: The queue that it is in.
        holder: Name of the listener that has it, if it was leased.
        since: Since when it is leased or parked.
        until: When its lease lapses, unless that is renewed.
        reason: Why it was parked.
        payload: What was cancelled; None for a change, if nothing was, or of many that were chosen by a tag or a name.
        id: The event's id.
    """

    done: bool = False
    state: State | None = None
    due_at: datetime | None = None
    was_due_at: datetime | None = None
    queue: str | None = None
    holder: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    reason: str | None = None
    payload: bytes | None = field(default=None, repr=False)
    id: str | None = field(default=None, compare=False)

    def __bool__(self) -> bool:
        """Whether it was done."""
        return self.done


@dataclass(frozen=True)
class EventInfo(Plain):
    """An event as ``peek`` found it.

    Attributes:
        due_at: Its due time, in UTC.
        redeliveries: Deliveries that were not confirmed.
        holder: Name of the listener that holds it, while it is leased.
        until: Lapse of its lease, while it is leased; time of the parking, if it is parked; else ``due_at``.
        reason: Why it is parked.
        tags: Its tags.
    """

    id: str
    state: State
    queue: str
    due_at: datetime
    payload: bytes = field(repr=False)
    redeliveries: int
    max_redeliveries: int
    holder: str | None
    until: datetime
    reason: str | None
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Upcoming(Plain):
    """One pending event in a page of ``upcoming``; ``payload`` and ``tags`` are None unless payloads were asked for."""

    id: str
    queue: str
    due_at: datetime
    payload: bytes | None = field(repr=False)
    tags: tuple[str, ...] | None


@dataclass(frozen=True)
class Counts:
    """Numbers of events by state, and of unreadable records."""

    pending: int
    leased: int
    parked: int
    damaged: int = 0


@dataclass(frozen=True)
class Damaged:
    """A record that could not be read and was put aside.

    Attributes:
        id: Id of its event.
        key: The key in Redis that it was found in.
        where: Its place, by which it is dropped.
        record: The record itself.
        shard: Number of the shard.
    """

    id: str
    key: str
    where: bytes = field(repr=False)
    record: bytes = field(repr=False)
    shard: int = 0


@dataclass(frozen=True)
class Hold(Plain):
    """What is not claimed until it is resumed.

    Attributes:
        what: ``"queue"``; ``"kind"``, of a ``DTimer``; ``"task"``, of an app.
        name: The queue's name, or the kind's, or the task's.
        by: Who holds it.
        why: The reason that was given; empty if none was.
        since: Since when, by the server's clock.
        complete: Whether it is so in all shards. If not, a hold or a resume was interrupted, or is under way: when it
            is done again, it is complete.
    """

    what: Literal["queue", "kind", "task"]
    name: str
    by: str
    why: str
    since: datetime
    complete: bool = True


def fields_of(event: Any) -> dict[str, Any]:
    """Return the fields of one of these, but its payload, as JSON has them."""
    return {field.name: _plain(getattr(event, field.name)) for field in fields(event) if field.name != "payload"}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return list(value)
    return value.value if isinstance(value, enum.Enum) else value
