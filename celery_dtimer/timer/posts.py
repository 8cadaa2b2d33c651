"""What a post is given, checked, and many posts as few calls."""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from celery_dtimer.errors import (
    InvalidDelayError,
    InvalidEventError,
    NotReplicatedError,
    PostManyError,
    TimerFullError,
    TimerUnavailableError,
)
from celery_dtimer.timer.events import (
    ON_CONFLICT,
    NewEvent,
    check_id,
    check_max_redeliveries,
    check_payload,
    check_queue,
)
from celery_dtimer.timer.replication import joined
from celery_dtimer.timer.shards import Shards
from celery_dtimer.timer.store import BATCH
from celery_dtimer.timer.times import Delay, delay_to_ms, eta_to_ms, max_wait_to_ms


@dataclass(frozen=True)
class Post:
    """One event for ``post_many``: what ``post`` takes, ``delay`` or ``eta`` being required."""

    payload: bytes | str
    delay: Delay | None = None
    eta: datetime | None = None
    id: str | None = None
    queue: str | None = None
    max_redeliveries: int | None = None


def new_event(post: Post, *, queue: str, max_redeliveries: int, max_payload: int) -> NewEvent:
    """Return the event that a post describes, with the defaults for what it leaves out.

    Raises:
        InvalidEventError: One of its values is not what the timer can store.
    """
    if (post.delay is None) == (post.eta is None):
        raise InvalidDelayError(
            f"give a delay or an eta, and not both: delay={post.delay!r}, eta={post.eta!r}",
            argument="delay",
            value=post.delay,
        )
    return NewEvent(
        id=check_id(post.id) if post.id is not None else str(uuid.uuid4()),
        payload=check_payload(post.payload, max_payload),
        clock="at" if post.delay is None else "in",
        when_ms=eta_to_ms(post.eta) if post.delay is None else delay_to_ms(post.delay),
        max_redeliveries=max_redeliveries
        if post.max_redeliveries is None
        else check_max_redeliveries(post.max_redeliveries),
        queue=queue if post.queue is None else check_queue(post.queue),
    )


def store_many(shards: Shards, events: Sequence[NewEvent], conflict: str) -> list[str]:
    """Store events in batches of a shard and a queue, and return their ids.

    Raises:
        PostManyError: Not all are stored; it names those that are, and those that may be.
        NotReplicatedError: All are stored, and too few replicas have those that it names.
    """
    stored: list[str] = []
    refused: list[str] = []
    lacking: NotReplicatedError | None = None

    def place(event: NewEvent) -> tuple[int, str]:
        return shards.number_of(event.id), event.queue

    for _, group in groupby(sorted(events, key=place), key=place):
        members = list(group)
        for start in range(0, len(members), BATCH):
            batch = members[start : start + BATCH]
            try:
                replies = shards.post(batch, conflict=conflict)
            except NotReplicatedError as exc:
                lacking = joined(lacking, exc)
                replies = _replies(batch, exc.event_ids)
            except (TimerUnavailableError, TimerFullError) as exc:
                unknown = [e.id for e in batch] if isinstance(exc, TimerUnavailableError) else []
                raise PostManyError(
                    f"{len(stored)} of {len(events)} events are stored, {len(refused)} were refused, and "
                    f"{len(unknown)} may or may not be stored: {exc}",
                    stored=stored,
                    refused=refused,
                    unknown=unknown,
                    not_replicated=lacking.event_ids if lacking else (),
                ) from exc
            for event, due_ms in zip(batch, replies, strict=True):
                (refused if due_ms < 0 else stored).append(event.id)
    if refused:
        raise PostManyError(
            f"{len(refused)} of {len(events)} events were refused, since others of their ids are pending",
            stored=stored,
            refused=refused,
            unknown=(),
            not_replicated=lacking.event_ids if lacking else (),
        ) from lacking
    if lacking:
        raise lacking
    return [event.id for event in events]


def _replies(batch: Sequence[NewEvent], stored: Sequence[str]) -> list[int]:
    """Replies as post's: 1 for an event that is stored, -1 for one that was refused; of one id, the first is stored."""
    left = Counter(stored)
    replies = []
    for event in batch:
        replies.append(1 if left[event.id] > 0 else -1)
        left[event.id] -= 1
    return replies


def check_conflict(on_conflict: str) -> str:
    """Return what a pending event of the same id means, or raise InvalidEventError."""
    if on_conflict not in ON_CONFLICT:
        raise InvalidEventError(
            f"on_conflict is one of {', '.join(ON_CONFLICT)}, not {on_conflict!r}",
            argument="on_conflict",
            value=on_conflict,
        )
    return on_conflict


def check_max_wait(max_wait: Delay | None, on_conflict: str) -> int:
    """Return the bound of a debounce in milliseconds, 0 if there is none, or raise InvalidEventError."""
    if max_wait is None:
        return 0
    if on_conflict != "postpone":
        raise InvalidEventError(
            f"max_wait bounds on_conflict='postpone', not {on_conflict!r}",
            argument="max_wait",
            value=max_wait,
        )
    return max_wait_to_ms(max_wait)
