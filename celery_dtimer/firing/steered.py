"""What operators ask a worker's Dispatcher for, and tell it, by remote control."""

import logging
from abc import ABC, abstractmethod
from typing import Any

from celery_dtimer.counters import Counters
from celery_dtimer.firing.capacity import Capacity
from celery_dtimer.firing.inbox import Entry, Inbox
from celery_dtimer.timer.listening.listener import Listener

logger = logging.getLogger(__name__)


class Steered(ABC):
    """The half of a Dispatcher that remote control calls, in the thread in which Celery answers."""

    _capacity: Capacity
    _counters: Counters
    _extra: dict[str, Any]
    _inbox: Inbox
    _listener: Listener
    _paused: bool  # by an operator, which a reconnect to the broker does not undo

    @abstractmethod
    def start(self) -> None:
        """Fire."""

    @abstractmethod
    def pause(self) -> None:
        """Claim and hand over nothing."""

    @abstractmethod
    def _queues(self) -> tuple[str, ...]: ...

    def info(self) -> dict[str, Any]:
        """Return the listener's numbers."""
        return {
            "max_events": self._capacity.max_events,
            "in_flight": self._listener.in_flight,
            "queues": list(self._queues()),
        }

    def report(self) -> dict[str, Any]:
        """Return more of them: what this process has counted, and whether it fires; times are in seconds."""
        failing_for = self._listener.outage.failing_for
        return {
            **self.info(),
            "waiting": len(self._inbox),
            "paused": self._paused,
            "redis": {
                "connected": not failing_for,
                "failing_for": round(failing_for, 3),
                "last_round": round(self._listener.last_round, 3),
                "clock_offset": self._listener.clock_offset,
            },
            **self._counters.report(),
        }

    def claimed(self) -> list[Entry]:
        """Return what was claimed and waits for a slot, soonest first."""
        return sorted(self._inbox.waiting(), key=lambda entry: entry.delivery.due_ms)

    def pause_by_operator(self) -> None:
        """Claim and hand over nothing until ``resume_by_operator``; what runs goes on, and is confirmed."""
        self._paused = True
        self.pause()
        logger.warning("dtimer: paused by an operator; it fires nothing until it is resumed", extra=self._extra)

    def resume_by_operator(self) -> None:
        """Fire again."""
        if self._paused:
            self._paused = False
            self.start()

    def set_max_events(self, count: int | None) -> int:
        """Hold at most so many events; None: as many as the setting says. Returns how many that is."""
        self._capacity.limit(count)
        self._listener.max_events = self._capacity.max_events
        self._listener.look()
        return self._capacity.max_events
