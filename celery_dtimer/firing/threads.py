"""The thread that fires: the worker's main one, called by its hub, or one of ours where the worker has no hub."""

import threading
import time
from collections.abc import Callable
from typing import Any

from celery.worker import state

from celery_dtimer.accommodations import accommodates
from celery_dtimer.celery_patches import pools
from celery_dtimer.firing.inbox import Inbox
from celery_dtimer.timer.listening.mailbox import mailbox
from celery_dtimer.timer.listening.socket_wakeup import Wakeup

#: Seconds of firing after which the hub gets its turn.
SLICE = 0.005

#: Seconds that a worker waits as it ends: for the thread, and for the timer's Redis to take the last confirms.
FAREWELL = 5.0


@accommodates("kombu before 5.7, whose Hub.call_soon does not wake the hub", remove_when="kombu>=5.7")
class HubThread:
    """The worker's main thread, woken through a pair of sockets.

    Args:
        inbox: The deliveries that wait to be fired.
        fire_next: Fires one delivery; returns whether to call it again.
    """

    def __init__(self, inbox: Inbox, fire_next: Callable[[], bool]) -> None:
        self._inbox = inbox
        self._fire_next = fire_next
        self._wakeup = Wakeup()
        self._has_fired = False

    def start(self) -> None:
        """Nothing: it runs."""

    def register(self, hub: Any) -> None:
        """Be called by the hub, until its loop ends."""
        hub.add_reader(self._wakeup.fileno(), self._on_readable)

    def wake(self) -> None:
        """Fire the waiting deliveries soon; from any thread."""
        self._wakeup.wake()

    def stop(self) -> None:
        """Be woken no more."""
        self._wakeup.close()

    def _on_readable(self) -> None:
        self._wakeup.drain()
        if self._has_fired and self._is_early():
            # At the end of this turn the hub writes to a process what the last one has put there.
            self._has_fired = False
            self.wake()
            return
        # For a slice of time only: the hub has others to serve and a shutdown to notice, and a solo pool runs each task
        # right here.
        end = time.monotonic() + SLICE
        while self._fire_next():
            self._has_fired = True
            if time.monotonic() >= end or self._is_early():
                self.wake()
                return
        self._has_fired = False

    def _is_early(self) -> bool:
        """Whether the next one is not due yet, and the thread would wait for that."""
        entry = self._inbox.first()
        return entry is not None and entry.prepared.due > time.monotonic()


class OwnThread(threading.Thread):
    """A thread of ours: a worker without a hub runs its own countdowns in one of its timer's.

    Args:
        pool: The worker's pool.
        inbox: The deliveries that wait to be fired.
        fire_next: Fires one delivery; returns whether to call it again.
    """

    def __init__(self, pool: Any, inbox: Inbox, fire_next: Callable[[], bool]) -> None:
        super().__init__(name="dtimer-firing", daemon=True)
        self._pool = pool
        self._inbox = inbox
        self._fire_next = fire_next
        self._calls = mailbox()
        pools.one_at_a_time(pool)

    def register(self, hub: Any) -> None:
        """Nothing: no hub calls it."""

    def wake(self) -> None:
        """Fire the waiting deliveries soon; from any thread."""
        self._calls.put(True)

    def stop(self) -> None:
        """End, after the delivery that is being fired."""
        self._calls.put(False)
        if not state.should_terminate:
            # A solo pool runs its tasks in there, and a warm shutdown lets a running task end.
            self.join(None if pools.runs_inline(self._pool) else FAREWELL)

    def run(self) -> None:
        """Fire whenever it is woken."""
        while self._calls.get():
            while self._fire_next():
                pass
            if self._pool.is_green and self._inbox.first() is not None:
                # The greenlet whose task has ended leaves the pool a little later.
                pools.wait_for_room(self._pool)
                self.wake()
