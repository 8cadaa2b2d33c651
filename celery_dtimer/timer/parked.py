"""The values that are about what is parked: one event of a page, and what became of many."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from celery_dtimer.timer.events import fields_of


@dataclass(frozen=True)
class ParkedEvent:
    """One event in a page of ``parked``.

    Attributes:
        kind: What it is one of, as ``post`` was told: the task's name; None for none.
        reason: Why it is parked.
        redeliveries: How often it was delivered and not confirmed.
        due_at: When it was due, in UTC.
        parked_at: Since when it is parked.
        cursor: For the page that begins behind it; it is good for that whatever becomes of the event.
        holder: Name of the listener that had it last: it parked the event, or its lease lapsed; None if an older
            version parked it.
        error: The last known error of a delivery: the exception's type and message, in one line of at most 300
            characters; None if there is none.
        tags: Its tags.
    """

    id: str
    queue: str
    kind: str | None
    reason: str
    redeliveries: int
    max_redeliveries: int
    due_at: datetime
    parked_at: datetime
    cursor: str = field(repr=False)
    holder: str | None = None
    error: str | None = None
    tags: tuple[str, ...] = ()

    @property
    def deliveries(self) -> int:
        """How often it was delivered. The last one is counted as a redelivery only if it was one too many."""
        return min(self.redeliveries, self.max_redeliveries) + 1

    def as_dict(self) -> dict[str, Any]:
        """Return all as JSON has it: times in ISO 8601, in UTC."""
        return {**fields_of(self), "deliveries": self.deliveries}


@dataclass(frozen=True)
class Unparked:
    """What became of parked events that were replayed, or dropped, together.

    Attributes:
        done: How many were.
        in_use: Ids of those that were not replayed, since another event of the id is pending or being delivered.
        unknown: Ids of which nothing is parked.
    """

    done: int
    in_use: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
