"""What the pages that are open show at this moment: read once for all of them, and not at all while nobody looks."""

import logging
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
from celery_dtimer.operating.backlog import Backlog, read_backlog
from celery_dtimer.operating.frames import WorkerRow, deltas, largest, worker_rows
from celery_dtimer.operating.gauges import Gauges, read_gauges
from celery_dtimer.operating.workers import timers_of_workers
from celery_dtimer.posting.task_events import UpcomingTask
from celery_dtimer.posting.task_timer import TaskTimer, get_timer
from celery_dtimer.timer.events import Hold
from celery_dtimer.web.histogram import RANGES

logger = logging.getLogger(__name__)

#: Seconds between two looks at Redis, and between two questions to the workers.
PERIOD, WORKERS_PERIOD = 2.0, 5.0

#: A look that takes long, as with thousands of queues, is followed by a rest so many times as long.
SHARE = 9

#: Seconds that the workers have to answer, and for which a page waits for the first answer.
ANSWER, FIRST_ANSWER = 0.5, 1.5

#: The soonest events that the first page shows.
SOONEST = 10


@dataclass(frozen=True)
class Fleet:
    """The workers that answered.

    Attributes:
        workers: By name; None: the broker did not answer.
        versions: Of celery-dtimer, by the same names.
        fired: Events that they fired a second, between their last two answers.
        p50: The largest of their medians of lateness, in seconds.
        p99: The largest of their 99th percentiles.
        asked: Whether anybody was asked yet.
    """

    workers: dict[str, WorkerRow] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    fired: float | None = None
    p50: float | None = None
    p99: float | None = None
    asked: bool = False


@dataclass(frozen=True)
class Snapshot:
    """What one look has seen, or the error that it met."""

    at: datetime
    range: str
    gauges: Gauges | None = None
    counts: Mapping[str, list[int]] = field(default_factory=dict)
    soonest: list[UpcomingTask] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    backlog: Backlog | None = None
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
        self._reading = threading.Lock()
        self._watchers: dict[str, int] = {}
        self._poller: threading.Thread | None = None
        self._latest: dict[str, tuple[int, Snapshot]] = {}
        self._looks = 0
        self._fleet = Fleet()
        self._reports: tuple[float, Mapping[str, Any]] | None = None
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
        self._ask_workers()
        if not self._fleet.asked:
            self._answered.wait(FIRST_ANSWER)
        # Pages that are asked for together share a look.
        with self._reading:
            found = self._latest.get(name)
            if found is None or (datetime.now(UTC) - found[1].at).total_seconds() > PERIOD / 2:
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
            took = time.monotonic() - began
            time.sleep(max(PERIOD - took, took * SHARE))

    def _look(self, name: str) -> Snapshot:
        try:
            snapshot = self._read(name)
        except Exception as exc:
            if not isinstance(exc, DTimerError | RedisError | OSError):
                logger.warning("dtimer: web: the timer can't be shown", exc_info=exc)
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
        holds = timer.holds() if gauges.holds else []
        backlog = read_backlog(extension_of(self._app))
        return Snapshot(at, name, gauges, counts, soonest, holds, backlog, self._fleet)

    # --- the workers, who take half a second to answer

    def _ask_workers(self) -> None:
        with self._lock:
            now = time.monotonic()
            if self._asked_at and now - self._asked_at < WORKERS_PERIOD:
                return
            self._asked_at = now
        threading.Thread(target=self._hear_workers, name="dtimer-web-workers", daemon=True).start()

    def _hear_workers(self) -> None:
        reports = timers_of_workers(self._app, timeout=ANSWER)
        now, before = time.monotonic(), self._reports
        self._reports = None if reports is None else (now, reports)
        fleet = Fleet(asked=True)
        try:
            fleet = fleet if reports is None else _fleet(reports, before, now)
        except (TypeError, ValueError, KeyError, AttributeError) as exc:
            # A worker of another version, or of another kind, may answer anything.
            logger.warning("dtimer: web: what workers answered can't be shown (%r)", exc)
        self._fleet = fleet
        self._answered.set()


def _fleet(reports: Mapping[str, Any], before: tuple[float, Mapping[str, Any]] | None, now: float) -> Fleet:
    counted = None if before is None else deltas(before[1], reports)
    seconds = 0.0 if before is None else now - before[0]
    rows = worker_rows(reports, counted, seconds)
    fired = [row.fired for row in rows.values() if row.fired is not None]
    return Fleet(
        workers=rows,
        versions={name: str(report.get("version", "?")) for name, report in reports.items()},
        fired=sum(fired) if fired else None,
        p50=largest(rows, "p50"),
        p99=largest(rows, "p99"),
        asked=True,
    )
