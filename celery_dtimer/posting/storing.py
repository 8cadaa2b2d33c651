"""Storing the event of one post, once its message is made: the same for a caller that waits, and one that awaits."""

import logging
from collections.abc import Mapping
from typing import Any

from celery_dtimer.errors import EventExistsError, NotReplicatedError
from celery_dtimer.extension import Extension
from celery_dtimer.posting.awaiting import Storing, put_off
from celery_dtimer.posting.patience import pauses
from celery_dtimer.posting.posting import Posting
from celery_dtimer.timer.connecting.steps import Steps, run
from celery_dtimer.timer.events import NewEvent
from celery_dtimer.timer.legible import legible
from celery_dtimer.timer.storing.batches import post_patiently_steps

logger = logging.getLogger(__name__)


def store_steps(
    extension: Extension,
    event: NewEvent,
    conflict: str,
    policy: Mapping[str, Any] | None,
    *,
    origin: bytes = b"",
    max_wait_ms: int = 0,
) -> Steps[None]:
    """Store an event, again by a publish retry policy if Redis does not answer, and count it.

    Args:
        extension: The app's timer.
        event: The event.
        conflict: What happens to a pending event of the same id, see ``Posting``.
        policy: Celery's publish retry policy, or None not to retry.
        origin: The key of the delivery that a retry follows.
        max_wait_ms: Bound of a debounce.

    Raises:
        EventExistsError: Another event of its id is pending, and the conflict is "error".
        NotReplicatedError: It is stored, and too few replicas have it.
        TimerUnavailableError: Redis did not answer; it may or may not be stored.
        TimerFullError: Redis is at its maxmemory.
    """
    shard = extension.shards.of(event.id)
    try:
        (due_ms,) = yield from post_patiently_steps(
            shard, [event], conflict, pauses(policy), origin=origin, max_wait_ms=max_wait_ms
        )
    except NotReplicatedError:
        extension.counters.posted(event, None, conflict)
        raise
    if due_ms < 0:
        raise EventExistsError(event_id=event.id, due_ms=-due_ms)
    extension.counters.posted(event, due_ms, conflict)


def store(extension: Extension, event: NewEvent, posting: Posting, policy: Mapping[str, Any] | None) -> None:
    """Store the event of a post: now, with its batch, or when it is awaited; raises what ``store_steps`` does."""
    if posting.batch is not None:
        posting.batch.add(event)
        return
    conflict = posting.on_conflict
    steps = store_steps(extension, event, conflict, policy, origin=posting.origin, max_wait_ms=posting.max_wait_ms)
    later = put_off()
    # What is taken over goes to the broker if it can't be stored: that is known now or never.
    if later is not None and posting.native is None:
        later.events.append(Storing(steps))
        return
    try:
        run(steps)
    except NotReplicatedError as exc:
        if conflict != "follow":
            raise
        # Celery would reject, and so park, the delivery that is being retried, beside the event that is stored.
        logger.warning("dtimer: task %s is retried: %s", legible(event.id), exc, extra={"dtimer_event": event.id})
