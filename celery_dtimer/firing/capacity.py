"""What a worker's pool can start soon: so much is claimed, and no more than that is handed over."""

from collections.abc import Callable, Sequence
from typing import Any

from celery.worker import state

from celery_dtimer.firing import pools
from celery_dtimer.timer.shard_listener import PATIENCE_MS

#: Seconds of work, by what its tasks took lately, that may wait in the pool for each of its slots. A pool that is
#: handed one task at a time idles while the next one is on its way, which only matters for tasks as short as this.
HORIZON = 0.010

#: The same for what is claimed: short tasks are fetched while there is time, and overtake what is longer than this.
CLAIM_HORIZON = 0.050

#: The same for the fair share of the timer's tasks in a pool that is full of the broker's. Where those are longer,
#: events are left for as long to other workers.
SHARE_HORIZON = PATIENCE_MS / 1000

#: How much of the last run goes into what a task is expected to take. A longer run counts at once.
WEIGHT = 0.2

#: Deliveries at a time for a worker without a prefetch limit (worker_prefetch_multiplier = 0).
UNLIMITED = 1000

UNKNOWN = float("inf")


class Capacity:
    """The slots of one worker's pool, and what is expected of the tasks in it, the broker's and the timer's.

    Args:
        consumer: The worker's ``celery.worker.consumer.Consumer``.
        max_events: The setting.
        is_ours: Whether a request is one of the timer's.
    """

    def __init__(self, consumer: Any, max_events: int | None, is_ours: Callable[[Any], bool]) -> None:
        self._consumer = consumer
        self._max_events = max_events
        self._is_ours = is_ours
        self._seconds: dict[str, float] = {}  # task name -> what it takes

    @property
    def slots(self) -> int:
        """How many tasks run at a time: under autoscale, in the largest pool."""
        autoscaler = getattr(self._consumer.controller, "autoscaler", None)
        size: int = autoscaler.max_concurrency if autoscaler is not None else pools.size(self._consumer.pool)
        return max(1, size)

    @property
    def max_events(self) -> int:
        """So many deliveries at a time: as many as the worker would prefetch from the broker, also when its pool grows.

        Not the consumer's own count: that is smaller after a reconnect, and restored by broker messages only.
        """
        return self._max_events or self.slots * self._consumer.prefetch_multiplier or UNLIMITED

    def expected(self, name: str | None) -> float:
        """Seconds that a task is expected to take, by its last runs here; infinite before the first."""
        return self._seconds.get(name or "", UNKNOWN)

    def ran(self, name: str, seconds: float) -> None:
        """Take a run into account."""
        before = self._seconds.get(name, seconds)
        self._seconds[name] = max(seconds, before + WEIGHT * (seconds - before))

    def can_start(self) -> bool:
        """Whether the pool would start one more task soon."""
        return self._starts_one() and pools.has_room(self._consumer.pool)

    def _starts_one(self) -> bool:
        if in_pool() < self.slots:
            return True
        requests = in_pool_now()
        if self._backlog(requests, HORIZON) < HORIZON * self.slots:
            return True
        return self._share(requests) > 0 and self._backlog(requests, SHARE_HORIZON) < SHARE_HORIZON * self.slots

    def can_claim(self, waiting: Sequence[float]) -> bool:
        """Whether to claim while tasks of these expected seconds wait to be handed over."""
        if in_pool() + len(waiting) < self.slots:
            return True
        requests = in_pool_now()
        # A short task overtakes the long ones that wait.
        short = sum(seconds for seconds in waiting if seconds < CLAIM_HORIZON)
        if self._backlog(requests, CLAIM_HORIZON) + short < CLAIM_HORIZON * self.slots:
            return True
        has_share = self._share(requests) > len(waiting)
        return has_share and self._backlog(requests, SHARE_HORIZON) < SHARE_HORIZON * self.slots

    def share(self) -> int:
        """How many more tasks may wait in a pool that is full: as many as there are of the broker's."""
        return self._share(in_pool_now())

    def _share(self, requests: Sequence[Any]) -> int:
        ours = sum(map(self._is_ours, requests))
        # One a slot where there are fewer: a task that fills a slot alone is no reason to leave the others alone.
        return max(0, max(self.slots, in_pool() - ours) - ours) if ours < in_pool() else 0

    def _backlog(self, requests: Sequence[Any], most: float) -> float:
        """Seconds of work in the pool. A task keeps one slot busy, however long it takes: at most so much counts."""
        known = sum(min(self.expected(request.name), most) for request in requests)
        return known + most * max(0, in_pool() - len(requests))


def in_pool() -> int:
    """How many tasks wait or run in the pool; a reconnect forgets some in one of Celery's two sets."""
    return max(len(state.reserved_requests), len(state.active_requests))


def in_pool_now() -> list[Any]:
    """The requests of these tasks, as far as they are to be had."""
    try:
        return list(state.reserved_requests)
    except RuntimeError:  # another thread has just added one
        return []
