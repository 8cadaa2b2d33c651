"""What the timer is to know of a post, beside its message."""

from typing import Literal, NamedTuple

from celery_dtimer.posting.bulk import Batch
from celery_dtimer.posting.native import NativeCall
from celery_dtimer.posting.template import Lesson


class Posting(NamedTuple):
    """The timer's arguments of a post, beside the message.

    Attributes:
        clock: ``"in"`` if ``when_ms`` counts from now, ``"at"`` if it is an instant in milliseconds.
        on_conflict: What happens to a pending event of the same id, see ``DTimer.post``; or ``"follow"``, for a retry:
            it replaces an earlier post of the same delivery, stands beside all other posts, and is stored in a
            Redis at its maxmemory too.
        native: The original call, if it was no post: it goes to the broker if the timer can't take it.
        origin: The key of the delivery that a retry follows.
        batch: The posts that it is stored with; None: it is stored at once.
        tags: Its tags, checked.
        lesson: Is told of the message that Celery makes of it.
    """

    clock: Literal["in", "at"]
    when_ms: int
    max_redeliveries: int | None = None
    on_conflict: str = "error"
    max_wait_ms: int = 0
    native: NativeCall | None = None
    origin: bytes = b""
    batch: Batch | None = None
    tags: tuple[str, ...] = ()
    lesson: Lesson | None = None
