"""The time for which a worker leaves events that it can't run to other workers, before it parks them.

It remembers kinds of events, and no single one, since there may be a million of them: an event has waited since it was
due, and a task is unknown since it was first refused here.
"""

import math
import time
from dataclasses import dataclass

from celery_dtimer.timer.events import Delivery

#: Seconds that an event is left to others: a quarter of its waiting time so far, within these bounds.
SHORTEST, LONGEST = 0.5, 60.0

#: Events of one kind that are claimed, and left, again in a second. If more wait, each is left for longer.
PACE = 200

#: Those seconds are multiples of this: events that were left together are claimed together, but not so many that a
#: worker that knows their task has no time for them.
STEP = 0.25

#: Kinds that are told apart: senders choose their names. All beyond are one more kind.
KINDS = 1000


@dataclass(slots=True)
class Kind:
    """Events that are refused for one reason.

    Attributes:
        name: The knowledge that this worker lacks: "the task 'x'".
        since: When the first was refused, by the monotonic clock.
        lag: The longest time between due and first claim, in seconds, in which no worker could have run it.
        next_at: The monotonic instant until which the last one is left to others.
        is_parked: Whether one was parked.
    """

    name: str
    since: float
    lag: float = 0.0
    next_at: float = 0.0
    is_parked: bool = False


class Refusals:
    """The kinds of events that one worker refuses.

    Args:
        patience: Seconds for which an event is left to others.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._kinds: dict[str, Kind] = {}

    def kind(self, name: str) -> tuple[Kind, bool]:
        """Return the kind of that name, and whether it is a new one."""
        if name not in self._kinds and len(self._kinds) >= KINDS:
            name = f"any of more than {KINDS} others"
        if name in self._kinds:
            return self._kinds[name], False
        kind = self._kinds[name] = Kind(name, time.monotonic())
        return kind, True

    def wait(self, kind: Kind, delivery: Delivery) -> float | None:
        """Return the seconds for which to leave the event to others; None after the patience."""
        now = time.monotonic()
        if delivery.is_first:
            kind.lag = max(kind.lag, now - delivery.due_monotonic)
        waited = max(0.0, now - max(kind.since, delivery.due_monotonic + kind.lag))
        if waited > self.patience:
            return None
        next_at = max(now + max(SHORTEST, min(waited / 4, LONGEST)), kind.next_at + 1 / PACE)
        kind.next_at = min(next_at, now + max(SHORTEST, self.patience - waited))
        return math.ceil((kind.next_at - now) / STEP) * STEP
