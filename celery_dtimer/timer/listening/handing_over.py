"""The deliveries that a listener has claimed, and hands over when they are due. For the loop's thread alone."""

import heapq
import itertools
import time
from collections.abc import Callable
from typing import Any

from celery_dtimer.timer.events import Delivery
from celery_dtimer.timer.listening.config import ListenerConfig
from celery_dtimer.timer.shown import last_line, shown

#: Greatest number of events held from which on claims are for half of them: the handlers of one half run while Redis
#: claims the other. A claim of fewer would cost more for each event than that gains.
IN_HALVES = 128


class HandingOver:
    """Deliveries, by the monotonic instant to hand them over at.

    If ``config.room`` is None, handlers do their work in this thread, and what filled a claim waits for the next one
    to be sent.

    Args:
        config: See ListenerConfig.
        release: Called with a delivery whose handler failed, and ``backoff_ms``, ``reason`` and ``error``.
    """

    def __init__(self, config: ListenerConfig, release: Callable[..., None]) -> None:
        self._config = config
        self._release = release
        self._soon: list[tuple[float, int, Delivery, Any]] = []  # a heap; each with what is handed over
        self._taken = itertools.count()
        self._waits = False  # for the next claim to be sent

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._soon)

    @property
    def next_instant(self) -> float | None:
        """The instant of the first; None without any."""
        return self._soon[0][0] if self._soon else None

    def most_at_once(self, max_events: int) -> int:
        """Return the most events in one claim of a listener that holds so many."""
        halves = self._config.room is None and max_events >= IN_HALVES
        return max_events // 2 if halves else max_events

    def take(self, claimed: list[tuple[float, Delivery]], max_events: int) -> None:
        """Take what was claimed, each with the monotonic instant at which it is due, and hand over what is due."""
        for due, delivery in claimed:
            prepared = self._config.prepare(delivery, due)
            if prepared is not None:
                heapq.heappush(self._soon, (due - self._config.lead, next(self._taken), delivery, prepared))
        most = self.most_at_once(max_events)
        if most < max_events and len(claimed) >= most:
            self._waits = True
        else:
            self.hand_over()

    def meanwhile(self) -> None:
        """Hand over what waits for this: a round's calls were sent, or there are none."""
        if self._waits:
            self._waits = False
            self.hand_over()

    def hand_over(self) -> bool:
        """Hand over what is due by now, all at once, unless it waits; return whether there was any."""
        due = []
        now = time.monotonic()
        if not self._soon or self._waits:
            return False
        if max(self._soon)[0] <= now:  # as in a flood: sorting is quicker than one pop after the other
            due, self._soon = sorted(self._soon), []
        while self._soon and self._soon[0][0] <= now:
            due.append(heapq.heappop(self._soon))
        if not due:
            return False
        try:
            self._config.deliver([prepared for _, _, _, prepared in due])
        except Exception as exc:  # noqa: BLE001 - whatever it raises is the error handler's
            for _, _, delivery, _ in due:
                self._release(
                    delivery, backoff_ms=1000, reason=f"the handler failed: {shown(exc)}", error=last_line(exc)
                )
            self._config.on_error(exc)
        return True

    def give_back(self) -> list[Delivery]:
        """Return those that can be given back, and hold them no longer.

        Events that are delivered once are not in Redis any more: they are handed over still when they are due.
        """
        returned = [delivery for _, _, delivery, _ in self._soon if delivery.token]
        self._soon = [entry for entry in self._soon if not entry[2].token]
        heapq.heapify(self._soon)
        return returned
