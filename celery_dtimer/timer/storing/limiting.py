"""A catch-up limit as one shard stores it: events in 1,000 s of what is overdue by more than some milliseconds."""

import math
import re
from typing import NamedTuple

from celery_dtimer.timer.storing.calls import Calls, text_of
from celery_dtimer.timer.storing.failures import unavailable_named

FIELD = "catch_up"


class StoredLimit(NamedTuple):
    """A limit, and its note.

    Attributes:
        rate: Events in 1,000 s; 0: no bound.
        after_ms: Of what is overdue by more milliseconds.
        by: Who set it.
        why: The reason.
        since_ms: Since when, in milliseconds since 1970, by the server's clock.
    """

    rate: int
    after_ms: int
    by: str
    why: str
    since_ms: int


class Limits(Calls):
    """The limit of one shard."""

    def limit(self, value: str, by: str, why: str) -> bool:
        """Store a value of ``limit_value``, or forget it with an empty one; returns whether one was stored before."""
        # Each call wakes the listeners of its queues; the first one stores it.
        answers = [self.ask(self.call("limit", queues, value, by, why)) for queues in self.queues("limit")]
        return bool(answers[0])

    def stored_limit(self) -> StoredLimit | None:
        """Return the stored one; None if there is none."""
        with unavailable_named("catch-up limit"):
            self.check_layout()
            value = self._plain("HGET", self.keys.prefix + "holds", FIELD)
            note = self._plain("HGET", self.keys.prefix + "hold_notes", FIELD) if value else None
        read = re.fullmatch(rb"(\d+) (\d+)", value or b"")
        if read is None:
            return None
        facts, _, why = (note or b"0 ").partition(b"\n")
        since_ms, _, by = facts.partition(b" ")
        return StoredLimit(
            rate=int(read[1]),
            after_ms=int(read[2]),
            by=text_of(by)[0],
            why=text_of(why)[0],
            since_ms=int(since_ms) if since_ms.isdigit() else 0,
        )


def limit_value(rate: float | None, after: float) -> str:
    """Return a limit as it is stored.

    Args:
        rate: Events a second; None: no bound.
        after: Seconds.
    """
    return f"{0 if rate is None else max(1, round(rate * 1000))} {math.ceil(after * 1000)}"
