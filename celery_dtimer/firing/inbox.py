"""What was claimed and is not handed over yet."""

import heapq
import threading
import time
from dataclasses import dataclass, field
from itertools import count

from celery_dtimer.message import StoredMessage
from celery_dtimer.timer.events import Delivery


@dataclass(frozen=True, order=True, slots=True)
class Entry:
    """A delivery that waits for a slot.

    Attributes:
        ends: When it would have ended if it had started when it was due, in seconds; a task that has not run here
            yet counts as one that takes no time.
        number: Of those that are equal, the first comes first.
        expected: Seconds that its task is expected to take.
    """

    ends: float
    number: int
    expected: float = field(compare=False)
    delivery: Delivery = field(compare=False)
    message: StoredMessage = field(compare=False)


class Inbox:
    """The deliveries that wait, the one first that would end first: nothing short waits for something long.

    Nothing waits for ever for that: what is due later by more than a task takes comes after it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heap: list[Entry] = []
        self._numbers = count()
        self._moved_at = 0.0

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, delivery: Delivery, message: StoredMessage, expected: float) -> None:
        """Add one."""
        seconds = expected if expected < float("inf") else 0.0
        entry = Entry(delivery.due_ms / 1000 + seconds, next(self._numbers), expected, delivery, message)
        with self._lock:
            if not self._heap:
                self._moved_at = time.monotonic()
            heapq.heappush(self._heap, entry)

    def first(self) -> Entry | None:
        """Return the one that is next, and leave it here."""
        with self._lock:
            return self._heap[0] if self._heap else None

    def take(self, entry: Entry) -> bool:
        """Take the entry out; false if another thread was faster."""
        with self._lock:
            if not self._heap or self._heap[0] is not entry:
                return False
            heapq.heappop(self._heap)
            self._moved_at = time.monotonic()
            return True

    def empty(self) -> list[Delivery]:
        """Take out all that can be given back: what is delivered once is not in Redis any more."""
        with self._lock:
            returned = [entry.delivery for entry in self._heap if entry.delivery.token]
            self._heap = [entry for entry in self._heap if not entry.delivery.token]
            heapq.heapify(self._heap)
        return returned

    def expected(self) -> tuple[float, ...]:
        """The seconds that each is expected to take."""
        with self._lock:
            return tuple(entry.expected for entry in self._heap)

    def stuck_for(self) -> float:
        """Seconds since the last one was taken, or the first one came; 0 if nothing waits."""
        with self._lock:
            return time.monotonic() - self._moved_at if self._heap else 0.0
