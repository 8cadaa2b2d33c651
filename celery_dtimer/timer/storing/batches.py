"""Many events in few calls, and the outcome of each."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from celery_dtimer.errors import NotReplicatedError, PostManyError, TimerFullError, TimerUnavailableError
from celery_dtimer.timer.connecting.steps import Pause, Steps
from celery_dtimer.timer.events import NewEvent
from celery_dtimer.timer.legible import legible
from celery_dtimer.timer.storing.claims import BATCH, BATCH_BYTES
from celery_dtimer.timer.storing.namespace import Shards
from celery_dtimer.timer.storing.progress import tell
from celery_dtimer.timer.storing.replicas import joined
from celery_dtimer.timer.storing.shard import Store

logger = logging.getLogger(__name__)

#: In place of the instant of an event that is stored, where nobody told it: none is stored so early.
UNTOLD = 0


def post_patiently_steps(
    store: Store,
    events: Sequence[NewEvent],
    conflict: str,
    pauses: Iterator[float],
    *,
    origin: bytes = b"",
    max_wait_ms: int = 0,
) -> Steps[list[int]]:
    """Store events of one queue as ``Store.post`` does; again, after each of the pauses, if Redis does not answer."""
    while True:
        try:
            return (yield from store.post_steps(events, conflict=conflict, origin=origin, max_wait_ms=max_wait_ms))
        except TimerUnavailableError as exc:
            pause = next(pauses, None)
            if pause is None:
                raise
            if exc.asked and conflict == "error":
                # The first attempt may have been carried out: its events are no conflict.
                conflict = "again"
            logger.debug(
                "dtimer: event %s is posted again in %s s: %s",
                legible(events[0].id) + (f", with {len(events) - 1} more," if len(events) > 1 else ""),
                pause,
                exc,
                extra={"dtimer_event": events[0].id},
            )
            # Not with kombu's retry_over_time: where `celery worker` patches gevent in, its sleep is Python's own,
            # in which no other task runs, and no lease is renewed.
            yield Pause(pause)


def store_many_steps(
    shards: Shards,
    events: Sequence[NewEvent],
    conflict: str,
    *,
    max_wait_ms: int = 0,
    pauses: Callable[[], Iterator[float]] = lambda: iter(()),
    on_stored: Callable[[NewEvent, int | None], None] | None = None,
) -> Steps[list[str]]:
    """Store events in batches of a shard and a queue, and return their ids.

    Args:
        shards: Where to.
        events: The events.
        conflict: The effect on a pending event of the same id.
        max_wait_ms: Bound of a debounce.
        pauses: Makes the pauses, in seconds, before each further attempt of a batch.
        on_stored: Is told of each event that is stored, and its instant if that is known.

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
        for batch in _batches(group):
            try:
                replies = yield from post_patiently_steps(
                    shards.of(batch[0].id), batch, conflict, pauses(), max_wait_ms=max_wait_ms
                )
            except NotReplicatedError as exc:
                lacking = joined(lacking, exc)
                replies = _replies(batch, exc.event_ids)
            except (TimerUnavailableError, TimerFullError) as exc:
                unknown = [e.id for e in batch] if isinstance(exc, TimerUnavailableError) and exc.asked else []
                raise PostManyError(
                    f"{len(stored)} of {len(events)} events are stored, {len(refused)} were refused, and "
                    f"{len(unknown)} may or may not be stored: {exc}",
                    stored=stored,
                    refused=refused,
                    unknown=unknown,
                    not_replicated=lacking.event_ids if lacking else (),
                ) from exc
            tell(len(batch))
            for event, due_ms in zip(batch, replies, strict=True):
                (refused if due_ms < 0 else stored).append(event.id)
                if due_ms >= 0 and on_stored is not None:
                    on_stored(event, None if due_ms == UNTOLD else due_ms)
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


def _batches(events: Iterable[NewEvent]) -> Iterator[list[NewEvent]]:
    """Portions of at most BATCH events and tags, and of BATCH_BYTES unless it is one event."""
    batch: list[NewEvent] = []
    size = weight = 0
    for event in events:
        if batch and (weight + 1 + len(event.tags) > BATCH or size + len(event.payload) > BATCH_BYTES):
            yield batch
            batch, size, weight = [], 0, 0
        batch.append(event)
        size += len(event.payload)
        weight += 1 + len(event.tags)
    yield batch


def _replies(batch: Sequence[NewEvent], stored: Sequence[str]) -> list[int]:
    """Replies as post's, with UNTOLD for an instant; of several with one id, the first is stored."""
    left = Counter(stored)
    replies = []
    for event in batch:
        replies.append(UNTOLD if left[event.id] > 0 else -1)
        left[event.id] -= 1
    return replies
