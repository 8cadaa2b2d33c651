"""Events to seed a state with, at instants that need no waiting."""

from datetime import datetime

from celery_dtimer.timer.checks import kind_of
from celery_dtimer.timer.events import NewEvent
from celery_dtimer.timer.storing.shard import Store
from celery_dtimer.timer.times import ms_to_datetime

#: Instants in milliseconds since 1970 that are due for long, and not for long: 2001 and 2096.
PAST_MS, FUTURE_MS = 1_000_000_000_000, 4_000_000_000_000


def at(instant_ms: int) -> datetime:
    """The instant as an eta."""
    return ms_to_datetime(instant_ms)


def event(
    event_id: str,
    due_ms: int = PAST_MS,
    *,
    payload: bytes = b"payload",
    max_redeliveries: int = 20,
    queue: str = "default",
    kind: str = "",
    tags: tuple[str, ...] = (),
) -> NewEvent:
    """An event that is due at an instant."""
    return NewEvent(
        id=event_id,
        payload=payload,
        clock="at",
        when_ms=due_ms,
        max_redeliveries=max_redeliveries,
        queue=queue,
        kind=kind_of(kind),
        tags=tags,
    )


def seed(store: Store, *events: NewEvent) -> None:
    """Store events, one call each."""
    for new in events:
        store.post([new])
