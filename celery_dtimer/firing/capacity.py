"""The number of tasks that a worker's pool can start soon: no more are claimed, or handed over."""

from collections.abc import Callable, Sequence
from typing import Any

from celery_dtimer.celery_patches import pools
from celery_dtimer.celery_patches.worker import in_pool, requests_in_pool
from celery_dtimer.firing.pace import Pace
from celery_dtimer.timer.listening.shard_round import PATIENCE_MS

#: Seconds of work, by the last run times of its tasks, that may wait in the pool for each of its slots. A pool that is
#: handed one task at a time idles while the next one is on its way, which only matters for tasks as short as this.
HORIZON = 0.010

#: The same for claims: short tasks are fetched while there is time, and overtake tasks that are longer than this.
CLAIM_HORIZON = 0.050

#: The same for the fair share of the timer's tasks in a pool that is full of the broker's. Where those are longer,
#: events are left for as long to other workers.
SHARE_HORIZON = PATIENCE_MS / 1000

#: Share of the last run time in the estimate of the next. A longer run counts in full at once.
WEIGHT = 0.2

#: Deliveries at a time for a worker without a prefetch limit (worker_prefetch_multiplier = 0).
UNLIMITED = 1000

UNKNOWN = float("inf")

#: Of so many tasks in a full pool, one ends before more are handed to it.
FEW = 8

#: Short tasks that are handed to a pool between two looks at it.
UNSEEN = 10


class Capacity:
    """The slots of one worker's pool, and the expected run times of the tasks in it, the broker's and the timer's.

    Args:
        consumer: The worker's ``celery.worker.consumer.Consumer``.
        max_events: The setting.
        is_ours: Whether a request is one of the timer's.
    """

    def __init__(self, consumer: Any, max_events: int | None, is_ours: Callable[[Any], bool]) -> None:
        self._consumer = consumer
        self._setting = self._max_events = max_events
        self._is_ours = is_ours
        self._seconds: dict[str, float] = {}  # name of a registered task -> expected run time
        self._pace = Pace()
        self._high = 0
        self._unseen = 0
        self._spare = 0.0

    @property
    def slots(self) -> int:
        """The number of tasks that run at a time: under autoscale, in the largest pool."""
        autoscaler = getattr(self._consumer.controller, "autoscaler", None)
        size: int = autoscaler.max_concurrency if autoscaler is not None else pools.size(self._consumer.pool)
        return max(1, size)

    @property
    def max_events(self) -> int:
        """Deliveries at a time: as many as the worker would prefetch from the broker, also when its pool grows.

        Not the consumer's own count: that is smaller after a reconnect, and restored by broker messages only.
        """
        return self._max_events or self.slots * self._consumer.prefetch_multiplier or UNLIMITED

    @property
    def most(self) -> int:
        """Deliveries at a time while tasks are short: what the last ``mark`` was for, if no setting is below that."""
        return self._max_events or max(self.max_events, self._high)

    def limit(self, max_events: int | None) -> None:
        """Set the most deliveries held; None: as in the settings."""
        self._max_events = self._setting if max_events is None else max_events

    def expected(self, name: object) -> float:
        """Expected run time of a task in seconds, by its last runs here; infinite before the first.

        Its name may be anything that a message can say: this is asked of all that is in the pool, the broker's too.
        """
        return self._seconds.get(name, UNKNOWN) if isinstance(name, str) else UNKNOWN

    def ran(self, name: object, seconds: object) -> None:
        """Take a run into account."""
        if not isinstance(name, str) or not isinstance(seconds, float | int):
            return
        before = self._seconds.get(name, seconds)
        self._seconds[name] = max(seconds, before + WEIGHT * (seconds - before))

    def started(self) -> None:
        """Count one of the timer's tasks that the pool has started."""
        self._pace.started += 1

    def mark(self, round_trip: float) -> float:
        """The number of tasks, in the pool and before it, above which nothing is claimed yet; infinite for long tasks.

        Many are claimed at once then, as many as are started in CLAIM_HORIZON and the time that a claim takes: half of
        that horizon is left when it begins. It may have to wait for a ``round_trip``, in seconds, that is under way.
        """
        round_trip *= 2
        pace = self._pace.per_second()
        self._high = min(UNLIMITED, int(pace * (CLAIM_HORIZON + round_trip)))
        low = min(pace * (CLAIM_HORIZON / 2 + round_trip), self.most / 2)
        return low if low >= 2 * self.slots else UNKNOWN

    def starts(self, expected: float) -> bool:
        """Whether the pool would start a task of so many expected seconds soon; for the thread that fires.

        The pool is not looked at again for some short tasks, while there is time for each: that takes longer the more
        is in it.
        """
        if self._unseen > 0 and expected < self._spare:
            self._unseen -= 1
            self._spare -= expected
            return pools.has_room(self._consumer.pool)
        if not self.can_start():
            return False
        self._spare = HORIZON * self.slots - self._backlog(requests_in_pool(), HORIZON) - expected
        self._unseen = UNSEEN if self._spare > 0 else 0
        return True

    def few(self) -> int:
        """The number of tasks in a full pool at which to look at it again: of many short ones, some end before that."""
        return in_pool() - in_pool() // FEW

    def can_start(self) -> bool:
        """Whether the pool would start one more task soon."""
        return self._starts_one() and pools.has_room(self._consumer.pool)

    def _starts_one(self) -> bool:
        if in_pool() < self.slots:
            return True
        requests = requests_in_pool()
        if self._backlog(requests, HORIZON) < HORIZON * self.slots:
            return True
        return self.share(requests) > 0 and self._backlog(requests, SHARE_HORIZON) < SHARE_HORIZON * self.slots

    def can_claim(self, waiting: Sequence[float], *, by_estimate: bool) -> bool:
        """Whether to claim while tasks of these expected seconds wait to be handed over.

        Without ``by_estimate``, only into a slot that is idle.
        """
        if in_pool() + len(waiting) < self.slots:
            return True
        if not by_estimate:
            return False
        requests = requests_in_pool()
        # A short task overtakes the long ones that wait.
        short = sum(seconds for seconds in waiting if seconds < CLAIM_HORIZON)
        if self._backlog(requests, CLAIM_HORIZON) + short < CLAIM_HORIZON * self.slots:
            return True
        has_share = self.share(requests) > len(waiting)
        return has_share and self._backlog(requests, SHARE_HORIZON) < SHARE_HORIZON * self.slots

    def share(self, requests: Sequence[Any] | None = None) -> int:
        """The number of the timer's tasks that a full pool may still take: together as many as the broker's."""
        requests = requests_in_pool() if requests is None else requests
        ours = sum(map(self._is_ours, requests))
        # One a slot where there are fewer: a task that fills a slot alone is no reason to leave the others alone.
        return max(0, max(self.slots, in_pool() - ours) - ours) if ours < in_pool() else 0

    def _backlog(self, requests: Sequence[Any], most: float) -> float:
        """Seconds of work in the pool; ``most`` a task at most, since it keeps one slot busy however long it is."""
        # Not by its name, which is what its sender calls it: anything, and something else each time.
        known = sum(min(self.expected(request.type), most) for request in requests)
        return known + most * max(0, in_pool() - len(requests))
