"""What ``dtimer top`` shows at one instant, and how it follows from what Redis and the workers answer."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from redis.exceptions import RedisError

from celery_dtimer.errors import TimerUnavailableError
from celery_dtimer.extension import Extension
from celery_dtimer.operating.counting import QUEUE_HEADS, plain_rows, queue_rows, summary
from celery_dtimer.operating.gauges import Gauges, read_gauges
from celery_dtimer.operating.printing import WIDTH, brief, printable, shortened
from celery_dtimer.operating.tables import Head, table
from celery_dtimer.operating.workers import timers_of_workers

#: Queues, and workers, of a frame: a screen has about fifty lines.
MOST_ROWS = 15

#: Seconds for which a broker that did not answer is left alone: each question may leave a thread that connects.
REST = 10.0

#: A worker in a frame.
ROW = "{:>9}  {:>8}  {:>8}  {:>8}  {:<8}  {}"
WORKER_HEADS = (
    *(Head(name, "right") for name in ("HELD", "FIRED/S", "P50", "P99")),
    Head("STATE"),
    Head("WORKER"),
)


@dataclass(frozen=True)
class WorkerRow:
    """A worker with a timer.

    Attributes:
        state: ``fires``; ``full``: it holds as many events as it may; ``paused`` by an operator; ``no redis``: the
            timer's Redis does not answer it.
        held: Events that it holds now.
        most: Events that it may hold.
        fired: A second, since the last frame; None in its first.
        confirmed: A second, as ``fired``.
        p50: Median of its latest latenesses, in seconds; None without one.
        p99: Their 99th percentile.
        queues: Names of those that it claims for.
    """

    state: str
    held: int
    most: int
    fired: float | None
    confirmed: float | None
    p50: float | None
    p99: float | None
    queues: list[str]


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        at: When, in UTC, by this host's clock.
        error: Why Redis has not said what the timer holds; None if it has.
        gauges: What the timer holds; None with an error.
        workers: By name; None if the broker does not answer.
        posted: Events a second: what is stored has grown by, and what workers have ended. A cancel by another process
            takes from it. None if it can't be told: in the first frame, or without the workers' answers.
        fired: Events a second that the workers have fired.
        confirmed: Events a second that Redis has ended for them.
        p50: The largest of the workers' medians of lateness, in seconds.
        p99: The largest of their 99th percentiles.
    """

    at: datetime
    error: str | None = None
    gauges: Gauges | None = None
    workers: dict[str, WorkerRow] | None = field(default=None)
    posted: float | None = None
    fired: float | None = None
    confirmed: float | None = None
    p50: float | None = None
    p99: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return all as JSON has it."""
        return {
            "at": self.at.isoformat(),
            "error": self.error,
            "timer": None if self.gauges is None else asdict(self.gauges),
            "rates": {"posted": self.posted, "fired": self.fired, "confirmed": self.confirmed},
            "lateness": {"p50": self.p50, "p99": self.p99},
            "workers": None if self.workers is None else {name: asdict(row) for name, row in self.workers.items()},
        }


class Camera:
    """Takes frames, and remembers what the next one is compared with.

    Args:
        extension: The app's timer.
    """

    def __init__(self, extension: Extension) -> None:
        self._extension = extension
        self._rests_until = 0.0
        self._stored: tuple[float, int] | None = None
        self._answers: tuple[float, Mapping[str, Any]] | None = None

    def take(self) -> Frame:
        """Ask Redis and the workers: a second, or three where the broker does not answer.

        Raises:
            SettingsError: The namespace has another number of shards.
        """
        at, gauges, error = datetime.now(UTC), None, None
        try:
            gauges = read_gauges(self._extension.shards)
        except (TimerUnavailableError, RedisError, OSError) as exc:
            error = str(exc)
        asked_at = time.monotonic()
        answers = self._ask()
        before = self._answers
        seconds = asked_at - before[0] if before is not None else 0.0
        counted = None if answers is None or before is None else deltas(before[1], answers)
        rows = None if answers is None else worker_rows(answers, counted, seconds)
        totals = _sum(counted)
        posted = None
        if gauges is not None:
            stored = sum(q.pending + q.leased for q in gauges.queues.values()) + gauges.parked
            if self._stored is not None and totals is not None:
                grown = stored - self._stored[1] + totals["confirmed"] + totals["cancelled"]
                posted = max(0.0, round(grown / (asked_at - self._stored[0]), 3))
            self._stored = asked_at, stored
        else:
            self._stored = None
        self._answers = None if answers is None else (asked_at, answers)
        return Frame(
            at,
            error,
            gauges,
            rows,
            posted,
            None if totals is None else round(totals["fired"] / seconds, 3),
            None if totals is None else round(totals["confirmed"] / seconds, 3),
            largest(rows, "p50"),
            largest(rows, "p99"),
        )

    def _ask(self) -> dict[str, Any] | None:
        if time.monotonic() < self._rests_until:
            return None
        answers = timers_of_workers(self._extension.app)
        if answers is None:
            self._rests_until = time.monotonic() + REST
        return answers


COUNTED = ("fired", "confirmed", "cancelled")


def deltas(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Return what each worker that answered both times has counted between; one that restarted began at 0."""
    counted = {}
    for name, report in now.items():
        if name in before:
            pairs = {key: (before[name].get(key, 0), report.get(key, 0)) for key in COUNTED}
            restarted = any(new < old for old, new in pairs.values())
            counted[name] = {key: new if restarted else new - old for key, (old, new) in pairs.items()}
    return counted


def _sum(counted: Mapping[str, Mapping[str, int]] | None) -> dict[str, int] | None:
    return None if counted is None else {key: sum(each[key] for each in counted.values()) for key in COUNTED}


def worker_rows(
    answers: Mapping[str, Any], counted: Mapping[str, Mapping[str, int]] | None, seconds: float
) -> dict[str, WorkerRow]:
    """Return the rows of the workers that answered, by name, with what they have counted in so many seconds."""
    rows = {}
    for name, report in sorted(answers.items()):
        lateness = report.get("lateness") or {}
        its = (counted or {}).get(name)
        rows[name] = WorkerRow(
            state=_state(report),
            held=report.get("in_flight", 0),
            most=report.get("max_events", 0),
            fired=None if its is None else round(its["fired"] / seconds, 3),
            confirmed=None if its is None else round(its["confirmed"] / seconds, 3),
            p50=lateness.get("p50"),
            p99=lateness.get("p99"),
            queues=list(report["queues"]),
        )
    return rows


def _state(report: Mapping[str, Any]) -> str:
    if report.get("paused"):
        return "paused"
    if not (report.get("redis") or {}).get("connected", True):
        return "no redis"
    return "full" if report.get("in_flight", 0) >= report.get("max_events", 0) else "fires"


def largest(rows: Mapping[str, WorkerRow] | None, name: str) -> float | None:
    """Return the largest value of a field that any worker has; None without one."""
    return max((value for row in (rows or {}).values() if (value := getattr(row, name)) is not None), default=None)


# --- for people


def lines(frame: Frame) -> Iterator[str]:
    """Return a frame as plain lines that fit a terminal."""
    yield shortened(_title(frame), WIDTH)
    if frame.gauges is not None:
        rows = queue_rows(frame.gauges)
        yield from plain_rows(_fitting(rows, "queues"))
    yield from (shortened(note, WIDTH) for note in _notes(frame))
    if frame.workers:
        for row in ([head.name for head in WORKER_HEADS], *_fitting(_worker_cells(frame.workers), "workers")):
            line = ROW.format(*row[:-1], "")
            yield line + shortened(printable(row[-1]), WIDTH - len(line))


def drawing(frame: Frame) -> Any:
    """Return a frame as rich draws it."""
    from rich.console import Group  # noqa: PLC0415 - an extra
    from rich.text import Text  # noqa: PLC0415 - an extra

    parts: list[Any] = [Text(_title(frame), style="bold" if frame.error is None else "bold red")]
    if frame.gauges is not None:
        parts.append(table(QUEUE_HEADS, _fitting(queue_rows(frame.gauges), "queues")))
    parts += [Text(line) for line in _notes(frame)]
    if frame.workers:
        parts.append(table(WORKER_HEADS, _fitting(_worker_cells(frame.workers), "workers")))
    return Group(*parts)


def _title(frame: Frame) -> str:
    told = f"{frame.at:%Y-%m-%d %H:%M:%S} UTC"
    return told if frame.error is None else f"{told}  {brief(frame.error)}"


def _notes(frame: Frame) -> Iterator[str]:
    if frame.gauges is not None:
        yield from summary(frame.gauges)
    rates = ((name, getattr(frame, name)) for name in ("posted", "fired", "confirmed"))
    late = f"late {_ms(frame.p50)} at p50, {_ms(frame.p99)} at p99"
    yield ", ".join(f"{name} {_rate(rate)}/s" for name, rate in rates) + f"; {late}"
    if frame.workers is None:
        yield "the workers' numbers are unknown: the broker does not answer"
    elif not frame.workers:
        yield "no worker with a timer answers"


def _worker_cells(workers: Mapping[str, WorkerRow]) -> list[tuple[str, ...]]:
    return [
        (f"{row.held}/{row.most}", _rate(row.fired), _ms(row.p50), _ms(row.p99), row.state, name)
        for name, row in workers.items()
    ]


def _fitting(rows: list[tuple[str, ...]], what: str) -> list[tuple[str, ...]]:
    """Return as many rows as a screen has room for, and how many more there are; the last one is always there."""
    if len(rows) <= MOST_ROWS:
        return rows
    more = f"... and {len(rows) - MOST_ROWS} more {what}"
    return [*rows[: MOST_ROWS - 1], (*[""] * (len(rows[0]) - 1), more), rows[-1]]


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1f}"


def _ms(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
