"""The deliveries that were claimed and are not handed over yet."""

import heapq
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from celery_dtimer.message import StoredMessage
from celery_dtimer.timer.events import Delivery


class Prepared(NamedTuple):
    """A delivery that was read before it is due.

    Attributes:
        expected: Expected run time of its task, in seconds; infinite if it has not run here yet.
        due: The monotonic instant before which it is not fired.
    """

    delivery: Delivery
    message: StoredMessage
    expected: float
    due: float = 0.0


@dataclass(frozen=True, order=True, slots=True)
class Entry:
    """A delivery that waits for a slot.

    Attributes:
        ends: When it would have ended if it had started when it was due, in seconds; a task that has not run here
            yet counts as taking no time.
        number: Of equal entries, the first comes first.
    """

    ends: float
    number: int
    prepared: Prepared = field(compare=False)

    @property
    def delivery(self) -> Delivery:
        """What was claimed."""
        return self.prepared.delivery

    @property
    def message(self) -> StoredMessage:
        """Its message."""
        return self.prepared.message


class Inbox:
    """The deliveries that wait, ordered by when they would end: a short task does not wait for a long one.

    No task waits for ever: a delivery that is due later than another by more than that one's run time comes after it.

    There is no lock: a signal may interrupt the thread that fires in here, and no thread must wait for it. A dict has
    the deliveries that wait, and a thread owns those that it has taken out. Only the thread that fires keeps the order.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, Entry] = {}  # by number
        self._arrived: deque[Entry] = deque()
        self._order: list[Entry] = []  # heap; some may be taken out already
        self._numbers = count()
        self._moved_at = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    # --- in the thread of the listener

    def put(self, prepared: Prepared) -> None:
        """Add one."""
        seconds = prepared.expected if prepared.expected < float("inf") else 0.0
        entry = Entry(prepared.delivery.due_ms / 1000 + seconds, next(self._numbers), prepared)
        if not self._waiting:
            self._moved_at = time.monotonic()
        self._waiting[entry.number] = entry
        self._arrived.append(entry)

    # --- in the thread that fires

    def first(self) -> Entry | None:
        """Return the next entry, and leave it here."""
        while self._arrived:
            heapq.heappush(self._order, self._arrived.popleft())
        while self._order and self._order[0].number not in self._waiting:
            heapq.heappop(self._order)
        return self._order[0] if self._order else None

    # --- in any thread

    def take(self, entry: Entry) -> bool:
        """Take the entry out; false if another thread was faster."""
        if self._waiting.pop(entry.number, None) is None:
            return False
        self._moved_at = time.monotonic()
        return True

    def empty(self) -> list[Delivery]:
        """Take out all that can be given back: events that are delivered once are not in Redis any more."""
        # Not with `take`, which counts as a move.
        taken = [self._waiting.pop(entry.number, None) for entry in self.waiting() if entry.delivery.token]
        return [entry.delivery for entry in taken if entry is not None]

    def waiting(self) -> list[Entry]:
        """Return the entries that wait, in no order; another thread may take one meanwhile."""
        return list(self._waiting.values())

    def expected(self) -> tuple[float, ...]:
        """Return the expected run time of each, in seconds."""
        return tuple(entry.prepared.expected for entry in self.waiting())

    def stuck_for(self) -> float:
        """Return the seconds since the last one was taken, or the first one came; 0 if none waits."""
        return time.monotonic() - self._moved_at if self._waiting else 0.0
