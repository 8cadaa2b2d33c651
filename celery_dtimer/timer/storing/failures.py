"""Redis' errors as callers of the timer see them: errors of ours that name the operation."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import AuthenticationError, MovedError, OutOfMemoryError, RedisError

from celery_dtimer.errors import TimerFullError, TimerUnavailableError
from celery_dtimer.timer.connecting.server import UNAVAILABLE, NotAskedError

#: Operations that change nothing, even if they fail.
READS = (
    "peek",
    "count",
    "upcoming",
    "leased",
    "parked",
    "tagged",
    "sift",
    "forecast",
    "export",
    "list of damaged records",
    "list of holds",
)

MAKE_ROOM = "to store the event: raise its maxmemory, or give the timer a Redis of its own"
POST_AGAIN = "Posting the same id again is safe: with on_conflict='keep' or 'replace' it is stored once"


@contextmanager
def unavailable_named(operation: str, *event_ids: str) -> Iterator[None]:
    """Turn redis-py's errors into a TimerFullError, or a TimerUnavailableError that names the operation or the post."""
    try:
        yield
    except (RedisError, OSError) as exc:
        raise unavailable(exc, operation, *event_ids) from exc


def unavailable(exc: Exception, operation: str, *event_ids: str) -> TimerFullError | TimerUnavailableError:
    """Return one of redis-py's errors as ours, which names the operation or the post."""
    is_post = operation == "post"
    named = f"{event_ids[0]} and {len(event_ids) - 1} more" if len(event_ids) > 1 else "".join(event_ids)
    what = f"event {named}" if is_post else f"the {operation}{f' of {named}' if event_ids else ''}"
    if _is_full(exc):
        refused = MAKE_ROOM if is_post else what
        return TimerFullError(f"the timer's Redis is at its maxmemory and refused {refused}")
    asked = not isinstance(exc, NotAskedError)
    if is_post:
        outcome = f"may or may not be stored. {POST_AGAIN}" if asked else "is not stored"
    elif not asked:
        outcome = "did not happen"
    else:
        outcome = "has no answer, and changed nothing" if operation in READS else "may or may not have happened"
    return TimerUnavailableError(
        f"the timer's Redis {_failed(exc)}: {what} {outcome}", event_ids=event_ids, asked=asked
    )


def _is_full(exc: Exception) -> bool:
    """Whether Redis is at its maxmemory: 6.2 puts a script's error into another, in which redis-py does not look."""
    return isinstance(exc, OutOfMemoryError) or "-OOM command not allowed" in str(exc)


def _failed(exc: Exception) -> str:
    """The failure in words. Redis may have answered: a replica that only reads does."""
    if isinstance(exc, NotAskedError):
        return f"was not asked ({exc})"
    if isinstance(exc, AuthenticationError):
        # To redis-py, that is an error of the connection.
        return f"refused the user or the password ({exc})"
    if isinstance(exc, MovedError):
        # As a node of a cluster that is spoken to as if it were alone; see cluster.py.
        return f"sent us to another node ({exc}; the URL of a cluster is redis+cluster://)"
    return f"did not answer ({exc})" if isinstance(exc, UNAVAILABLE) else f"answered with an error ({exc})"
