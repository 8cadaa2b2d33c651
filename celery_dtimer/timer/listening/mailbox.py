"""Notes to one loop from anywhere: any thread, a signal's handler, the garbage collector, each amid anything at all.

They may interrupt a ``put`` or the ``get`` of the same mailbox. So nothing here may wait for a lock: code that has
interrupted the lock's holder would wait for ever.
"""

import queue
import select
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from celery_dtimer.timer.listening.socket_wakeup import Wakeup


def mailbox() -> "queue.SimpleQueue[Any]":
    """Return a new mailbox: a ``SimpleQueue``, where that may be interrupted.

    The one in C may, and gevent's. eventlet puts Python's fallback in its place, which is made of locks.
    """
    # Look it up now, when all patches have been made.
    if queue.SimpleQueue.__module__ == "queue":
        fallback: Any = _WithoutLocks()
        return fallback  # type: ignore[no-any-return] # it has the methods that are used
    return queue.SimpleQueue()


class Mailbox:
    """The notes to one loop, in order, and a bell that wakes it when it sleeps."""

    def __init__(self) -> None:
        self._notes: deque[Any] = deque()
        self._bell = mailbox()
        self._is_rung = False
        self._looks_at = 0.0  # the loop's own next look at its notes, by the monotonic clock; 0 while it is awake

    def put(self, note: object) -> None:
        """Add a note, and wake the loop. Never waits."""
        self._notes.append(note)
        # Unset before the notes are taken: what was added while the bell was rung is among them.
        if not self._is_rung:
            self._is_rung = True
            self._bell.put(True)

    def leave(self, note: object, patience: float) -> None:
        """Add a note that may wait for so many seconds: the loop is woken only if it sleeps for longer."""
        self._notes.append(note)
        if not self._is_rung and self._looks_at > time.monotonic() + patience:
            self._is_rung = True
            self._bell.put(True)

    def take(self, until: float) -> Iterator[Any]:
        """Sleep until a monotonic instant or until there is a note, and take what is there then."""
        # Set before the notes are looked at: who leaves one later knows when it is found.
        self._looks_at = until
        timeout = until - time.monotonic()
        with suppress(queue.Empty):
            if timeout > 0 and not self._notes:
                self._bell.get(timeout=timeout)
            while True:
                self._bell.get_nowait()
        self._looks_at = 0.0
        # The bell is silent by now: if it is rung once more, it wakes the next sleep in vain, and is never missed.
        self._is_rung = False
        while self._notes:
            yield self._notes.popleft()


class _WithoutLocks:
    """A deque, whose operations can't be interrupted, and a pair of sockets that wakes its waiting reader."""

    def __init__(self) -> None:
        self._notes: deque[Any] = deque()
        self._wakeup = Wakeup()

    def put(self, note: Any) -> None:
        """Add a note. Never waits."""
        self._notes.append(note)
        self._wakeup.wake()

    def get(self, timeout: float | None = None) -> Any:
        """Take the oldest, waiting for one if there is none.

        Raises:
            queue.Empty: None came within ``timeout`` seconds.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return self._notes.popleft()
            except IndexError:
                left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise queue.Empty
            select.select([self._wakeup.fileno()], [], [], left)
            # Before the notes are looked at again: each is there before its byte is.
            self._wakeup.drain()

    def get_nowait(self) -> Any:
        """Take the oldest.

        Raises:
            queue.Empty: There is none.
        """
        return self.get(0)
