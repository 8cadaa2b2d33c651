"""Looking for events: by queue, time, task, state and reason, in bounded steps however many there are."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.exceptions import HTTPException

from celery_dtimer.posting.task_events import ParkedTask, TaskInfo, UpcomingTask
from celery_dtimer.posting.task_timer import TaskTimer
from celery_dtimer.timer.checks import check_queue, check_tag, check_task
from celery_dtimer.timer.connecting.steps import run
from celery_dtimer.timer.events import State
from celery_dtimer.web.forms import Form

#: Events of a page.
PAGE = 50

#: Events that are read at a time to look for those of a task; and most of them, and seconds, for one page.
CHUNK, MOST_LOOKED_AT, MOST_SECONDS = 100, 2000, 1.0

#: The same for a change of all that match: most that are changed at once.
MOST_CHANGED, MOST_SEARCHED, MOST_SEARCHING = 5000, 50_000, 5.0

Row = UpcomingTask | TaskInfo | ParkedTask


@dataclass(frozen=True)
class Wanted:
    """What is looked for.

    Attributes:
        state: Where the events are.
        tag: Only those with this tag.
        task: Only those of this task.
        queue: Only those of this queue.
        start: Only those due from here on; what is overdue counts as due now.
        end: Only those due before.
        reason: Only what is parked with this text in the reason.
    """

    state: State = State.PENDING
    tag: str | None = None
    task: str | None = None
    queue: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    reason: str | None = None

    @classmethod
    def of(cls, form: Form) -> "Wanted":
        """Read the fields of a search.

        Raises:
            InvalidEventError: One is wrong.
            HTTPException: One is wrong.
        """
        state = form.get("state") or "pending"
        if state not in list(State):
            raise HTTPException(400, f"state must be one of {', '.join(State)}, got {state[:100]!r}")
        given = form.kept("tag", "task", "queue", "reason")
        return cls(
            state=State(state),
            tag=check_tag(given["tag"]) if "tag" in given else None,
            task=check_task(given["task"]) if "task" in given else None,
            queue=check_queue(given["queue"]) if "queue" in given else None,
            start=form.instant("from"),
            end=form.instant("to"),
            reason=given.get("reason"),
        )

    @property
    def is_sifted(self) -> bool:
        """Whether events have to be read to find these: a tag has a list of its own."""
        return self.task is not None and self.tag is None

    @property
    def is_all(self) -> bool:
        """Whether every event of the state is wanted."""
        return not (self.tag or self.task or self.queue or self.start or self.end or self.reason)

    def bounds(self) -> dict[str, Any]:
        """Return offset and duration, in seconds, as ``upcoming`` takes them."""
        now = datetime.now(UTC)
        offset = None if self.start is None or self.start <= now else (self.start - now).total_seconds()
        duration = None if self.end is None else max(0.0, (self.end - now).total_seconds() - (offset or 0))
        return {"offset": offset, "duration": duration}


@dataclass(frozen=True)
class Found:
    """A page.

    Attributes:
        rows: The events.
        after: Where the next page begins; None: this is the last.
        first: Number of the first one, if that can be told.
        total: How many there are, if that can be told.
        looked_at: Events that were read, if not all of them are shown.
    """

    rows: list[Row]
    after: str | None
    first: int | None = None
    total: int | None = None
    looked_at: int | None = None


def search(timer: TaskTimer, wanted: Wanted, form: Form) -> Found:
    """Return the page that an address asks for."""
    if wanted.state is State.PARKED:
        return _parked(timer, wanted, form.get("after") or None)
    skip = form.number("after")
    if wanted.state is State.LEASED:
        return _leased(timer, wanted, skip)
    return _pending(timer, wanted, skip)


def _parked(timer: TaskTimer, wanted: Wanted, after: str | None) -> Found:
    rows: list[ParkedTask] = timer.parked(PAGE + 1, after=after, tag=wanted.tag, task=wanted.task, reason=wanted.reason)
    if wanted.queue is not None:
        kept = [row for row in rows[:PAGE] if row.queue == wanted.queue]
        return Found([*kept], rows[PAGE - 1].cursor if len(rows) > PAGE else None, looked_at=min(len(rows), PAGE))
    total = None if wanted.tag or wanted.task or wanted.reason else timer.count().parked
    return Found([*rows[:PAGE]], rows[PAGE - 1].cursor if len(rows) > PAGE else None, total=total)


def _leased(timer: TaskTimer, wanted: Wanted, skip: int) -> Found:
    rows = timer.leased(PAGE + 1, skip=skip, queue=wanted.queue)
    after = str(skip + PAGE) if len(rows) > PAGE else None
    if wanted.task is not None or wanted.tag is not None:
        kept = [row for row in rows[:PAGE] if wanted.task in {None, row.task} and wanted.tag in {None, *row.tags}]
        return Found([*kept], after, looked_at=min(len(rows), PAGE))
    total = None if wanted.queue else timer.count().leased
    return Found([*rows[:PAGE]], after, skip + 1, total)


def _pending(timer: TaskTimer, wanted: Wanted, skip: int) -> Found:
    bounds = wanted.bounds()
    if not wanted.is_sifted:
        rows = timer.upcoming(**bounds, limit=PAGE + 1, skip=skip, queue=wanted.queue, tag=wanted.tag, task=wanted.task)
        total = None if wanted.queue or wanted.tag else timer.count(**bounds).pending
        return Found([*rows[:PAGE]], str(skip + PAGE) if len(rows) > PAGE else None, skip + 1, total)
    until, found, looked_at = time.monotonic() + MOST_SECONDS, list[Row](), 0
    for rows in _chunks(timer, wanted, bounds, skip):
        for row in rows:
            looked_at += 1
            if row.task == wanted.task:
                found.append(row)
                if len(found) == PAGE:
                    return Found(found, str(skip + looked_at), looked_at=looked_at)
        if looked_at >= MOST_LOOKED_AT or time.monotonic() > until:
            return Found(found, str(skip + looked_at), looked_at=looked_at)
    return Found(found, None, looked_at=looked_at)


def _chunks(timer: TaskTimer, wanted: Wanted, bounds: dict[str, Any], skip: int) -> Iterator[list[UpcomingTask]]:
    while True:
        rows = timer.upcoming(**bounds, limit=CHUNK, skip=skip, queue=wanted.queue)
        if rows:
            yield rows
        if len(rows) < CHUNK:
            return
        skip += len(rows)


@dataclass(frozen=True)
class Matching:
    """What a change of all that match is about.

    Attributes:
        ids: The events.
        complete: Whether these are all; if not, there may be more behind them.
        looked_at: Events that were read.
    """

    ids: list[str]
    complete: bool
    looked_at: int


def matching(timer: TaskTimer, wanted: Wanted) -> Matching:
    """Return the pending events that match, the soonest first, up to a bound."""
    bounds = wanted.bounds()
    if wanted.tag is not None:
        found = timer.upcoming(**bounds, limit=MOST_CHANGED + 1, queue=wanted.queue, tag=wanted.tag, task=wanted.task)
        return Matching([row.id for row in found[:MOST_CHANGED]], len(found) <= MOST_CHANGED, len(found))
    if wanted.task is None:
        # Without their payloads: the ids are enough.
        spans = {f"{name}_ms": None if value is None else round(value * 1000) for name, value in bounds.items()}
        steps = timer.shards.upcoming_steps(
            offset_ms=spans["offset_ms"],
            duration_ms=spans["duration_ms"],
            skip=0,
            limit=MOST_CHANGED + 1,
            payloads=False,
            queue=wanted.queue,
        )
        rows = run(steps)
        return Matching([row.id for row in rows[:MOST_CHANGED]], len(rows) <= MOST_CHANGED, len(rows))
    until, ids, looked_at = time.monotonic() + MOST_SEARCHING, list[str](), 0
    for chunk in _chunks(timer, wanted, bounds, 0):
        looked_at += len(chunk)
        ids += [row.id for row in chunk if row.task == wanted.task]
        if len(ids) > MOST_CHANGED:
            return Matching(ids[:MOST_CHANGED], False, looked_at)
        if looked_at >= MOST_SEARCHED or time.monotonic() > until:
            return Matching(ids, False, looked_at)
    return Matching(ids, True, looked_at)
