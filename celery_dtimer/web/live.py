"""What the pages that are open show at this moment: read once for all of them, and not at all while nobody looks."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from redis.exceptions import RedisError

from celery_dtimer.errors import DTimerError
from celery_dtimer.extension import extension_of
from celery_dtimer.operating.gauges import Gauges, read_gauges
from celery_dtimer.operating.workers import timers_of_workers
from celery_dtimer.posting.task_timer import TaskTimer, UpcomingTask, get_timer
from celery_dtimer.timer.events import Hold
from celery_dtimer.web.histogram import RANGES

#: Seconds between two looks at Redis, and between two questions to the workers.
PERIOD, WORKERS_PERIOD = 2.0, 5.0

#: Seconds that the workers have to answer, and for which a page waits for the first answer.
ANSWER, FIRST_ANSWER = 0.5, 1.5

#: The soonest events that the first page shows.
SOONEST = 10


@dataclass(frozen=True)
class Worker:
    """What one worker says of itself; rates are events a second between its last two answers."""

    name: str
    report: Mapping[str, Any]
    rate: float | None

    @property
    def state(self) -> str:
        """One word: cut off, paused, full, busy or idle."""
        redis = self.report.get("redis") or {}
        if not redis.get("connected", True):
            return "cut off"
        if self.report.get("paused"):
            return "paused"
        in_flight = self.report.get("in_flight") or 0
        return "full" if in_flight >= (self.report.get("max_events") or 1) else "busy" if in_flight else "idle"


@dataclass(frozen=True)
class Fleet:
    """The workers that answered.

    Attributes:
        workers: By name; None: the broker did not answer.
        rate: Events that they confirmed a second.
        p50: Their lateness, by their latest events: the median of each, weighted; seconds.
        p99: The worst worker's 99th percentile.
        asked: Whether anybody was asked yet.
    """

    workers: list[Worker] | None = None
    rate: float | None = None
    p50: float | None = None
    p99: float | None = None
    asked: bool = False

    @property
    def versions(self) -> list[str]:
        """The versions that run."""
        return sorted({str(worker.report.get("version", "?")) for worker in self.workers or ()})


@dataclass(frozen=True)
class Snapshot:
    """What one look has seen, or the error that it met."""

    at: datetime
    range: str
    gauges: Gauges | None = None
    counts: Mapping[str, list[int]] = field(default_factory=dict)
    soonest: list[UpcomingTask] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    fleet: Fleet = field(default_factory=Fleet)
    error: Exception | None = None


class Watch:
    """Looks at the timer for all open pages.

    Args:
        app: The Celery app.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._watchers: dict[str, int] = {}
        self._poller: threading.Thread | None = None
        self._latest: dict[str, tuple[int, Snapshot]] = {}
        self._looks = 0
        self._fleet = Fleet()
        self._reports: tuple[float, Mapping[str, Any]] = (0.0, {})
        self._asked_at = 0.0
        self._answered = threading.Event()

    @property
    def looks(self) -> int:
        """How often Redis was looked at."""
        return self._looks

    @contextmanager
    def watching(self, name: str) -> Iterator[None]:
        """Keep looking at a range as long as the caller's page is open."""
        with self._lock:
            self._watchers[name] = self._watchers.get(name, 0) + 1
            if self._poller is None:
                self._poller = threading.Thread(target=self._poll, name="dtimer-web-watch", daemon=True)
                self._poller.start()
        try:
            yield
        finally:
            with self._lock:
                self._watchers[name] -= 1
                if not self._watchers[name]:
                    del self._watchers[name]

    def latest(self, name: str) -> tuple[int, Snapshot] | None:
        """Return the last look at a range, and its number; None before the first."""
        return self._latest.get(name)

    def forget(self) -> None:
        """Look again for the next page: something was changed."""
        with self._lock:
            self._latest.clear()

    def look(self, name: str) -> Snapshot:
        """Return what a range shows now, read now unless that was done in the last second; errors are in it."""
        found = self._latest.get(name)
        if found is None or (datetime.now(UTC) - found[1].at).total_seconds() > PERIOD / 2:
            self._ask_workers()
            if not self._fleet.asked:
                self._answered.wait(FIRST_ANSWER)
            return self._look(name)
        return found[1]

    def _poll(self) -> None:
        while True:
            with self._lock:
                names = list(self._watchers)
                if not names:
                    self._poller = None
                    return
            began = time.monotonic()
            self._ask_workers()
            for name in names:
                self._look(name)
            time.sleep(max(0.1, PERIOD - (time.monotonic() - began)))

    def _look(self, name: str) -> Snapshot:
        try:
            snapshot = self._read(name)
        except (DTimerError, RedisError, OSError) as exc:
            snapshot = Snapshot(datetime.now(UTC), name, fleet=self._fleet, error=exc)
        with self._lock:
            self._looks += 1
            self._latest[name] = (self._looks, snapshot)
        return snapshot

    def _read(self, name: str) -> Snapshot:
        _, step, intervals, _, _ = RANGES[name]
        timer: TaskTimer = get_timer(self._app)
        at = datetime.now(UTC)
        counts = timer.forecast(step, intervals)
        gauges = read_gauges(timer.shards)
        soonest = timer.upcoming(limit=SOONEST) if gauges.queues else []
        return Snapshot(at, name, gauges, counts, soonest, timer.holds() if gauges.holds else [], self._fleet)

    # --- the workers, who take half a second to answer

    def _ask_workers(self) -> None:
        with self._lock:
            now = time.monotonic()
            if self._asked_at and now - self._asked_at < WORKERS_PERIOD:
                return
            self._asked_at = now
        threading.Thread(target=self._hear_workers, name="dtimer-web-workers", daemon=True).start()

    def _hear_workers(self) -> None:
        extension_of(self._app)
        reports = timers_of_workers(self._app, timeout=ANSWER)
        now, (before_at, before) = time.monotonic(), self._reports
        if reports is None:
            self._fleet = Fleet(asked=True)
        else:
            workers = [
                Worker(name, report, _rate(report, before.get(name), now - before_at))
                for name, report in sorted(reports.items())
            ]
            self._fleet = _fleet(workers)
            self._reports = (now, reports)
        self._answered.set()


def _rate(report: Mapping[str, Any], before: Mapping[str, Any] | None, seconds: float) -> float | None:
    if before is None or seconds <= 0:
        return None
    # A worker that was restarted counts from 0.
    return max(0.0, float(report.get("confirmed", 0) - before.get("confirmed", 0)) / seconds)


def _fleet(workers: list[Worker]) -> Fleet:
    rates = [worker.rate for worker in workers if worker.rate is not None]
    told = [told for worker in workers if (told := worker.report.get("lateness") or {}).get("events")]
    events = sum(each["events"] for each in told)
    return Fleet(
        workers=workers,
        rate=sum(rates) if rates else None,
        p50=sum(each["p50"] * each["events"] for each in told) / events if events else None,
        p99=max((each["p99"] for each in told), default=None),
        asked=True,
    )
