"""Questions about stored events, and changes of them: the same for a DTimer and for an app."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from celery_dtimer.errors import InvalidDelayError
from celery_dtimer.timer.catching_up import CatchingUp
from celery_dtimer.timer.checks import check_by, check_id, check_kind, check_queue, check_task, check_why, one_of
from celery_dtimer.timer.connecting.steps import Steps, run
from celery_dtimer.timer.events import Answer, Counts, EventInfo, Hold, Upcoming
from celery_dtimer.timer.options import count, seconds
from celery_dtimer.timer.parking import Parking, check_ids, choice_of
from celery_dtimer.timer.shown import wrong
from celery_dtimer.timer.storing.changing import Changes
from celery_dtimer.timer.storing.namespace import Shards
from celery_dtimer.timer.times import Delay, check_one_time, delay_to_ms, eta_to_ms, seconds_of

#: Most events in a page of ``upcoming``: the script reads them all at once.
MAX_PAGE = 10_000
LIMIT = count("limit", 100, least=1, most=MAX_PAGE)

#: Events that a page leaves out: the script counts in doubles.
SKIP = count("skip", 0, most=2**53)

#: Leased events in a page, and those before it: they are read one by one, and no fleet holds many.
LEASED = count("limit", 100, least=1, most=1000)
LEASED_SKIP = count("skip", 0, most=10_000)

#: Intervals of a forecast: each is counted by itself.
STEP = seconds("step", 60.0, least=0.001, most=365 * 86_400.0)
INTERVALS = count("intervals", 60, least=1, most=1000)

InfoT = TypeVar("InfoT", bound=EventInfo)
UpcomingT = TypeVar("UpcomingT", bound=Upcoming)


class StoredEvents(Parking, CatchingUp, ABC, Generic[InfoT, UpcomingT]):
    """The events of one namespace.

    Every method raises ``TimerUnavailableError`` if Redis does not answer, and ``SettingsError`` if the namespace has
    another number of shards.

    Attributes:
        shards: The shards that store them.
        namespace: Its name.
    """

    #: What takes the steps of an operation; an AsyncDTimer has its own.
    _run = staticmethod(run)

    def __init__(self, shards: Shards) -> None:
        self.shards = shards
        self.namespace = shards.namespace

    def peek(self, id: str) -> InfoT | None:  # noqa: A002 - the word of the original
        """Say where an event is: pending, leased or parked, due when, and held by whom; None if it is unknown."""
        return self._run(self._peek_steps(check_id(id)))

    def _peek_steps(self, event_id: str) -> Steps[InfoT | None]:
        info = yield from self.shards.of(event_id).peek_steps(event_id)
        return None if info is None else self._read_info(info)

    def cancel(self, id: str, *, if_due_at: datetime | None = None) -> Answer:  # noqa: A002 - the word of the original
        """End an event that waits or is parked. The answer is truthy only if it will not be delivered.

        Args:
            id: Its id.
            if_due_at: Only if it is due at this instant still, as ``peek`` or an earlier answer said.
        """
        return self._run(self.shards.of(check_id(id)).cancel_steps(id, instant_of(if_due_at)))

    def change_delay(
        self,
        id: str,  # noqa: A002 - the word of the original
        delay: Delay,
        *,
        if_due_at: datetime | None = None,
    ) -> Answer:
        """Let an event that waits be due ``delay`` from now. Otherwise the answer is falsy, and nothing changed.

        Args:
            id: Its id.
            delay: Seconds or a timedelta; negative means now.
            if_due_at: Only if it is due at this instant still.
        """
        shard = self.shards.of(check_id(id))
        return self._run(shard.change_steps(id, "in", delay_to_ms(delay), instant_of(if_due_at)))

    def change_eta(
        self,
        id: str,  # noqa: A002 - the word of the original
        eta: datetime,
        *,
        if_due_at: datetime | None = None,
    ) -> Answer:
        """Let an event that waits be due at ``eta``, see ``change_delay``."""
        shard = self.shards.of(check_id(id))
        return self._run(shard.change_steps(id, "at", eta_to_ms(eta), instant_of(if_due_at)))

    def run_now(self, id: str, *, if_due_at: datetime | None = None) -> Answer:  # noqa: A002 - the word of the original
        """Let an event that waits be due now, see ``change_delay``. One that is parked is replayed instead."""
        return self.change_delay(id, 0, if_due_at=if_due_at)

    def _change_many(
        self,
        action: Literal["cancel", "change"],
        ids: Iterable[str] | None,
        tag: str | None,
        kind: bytes,
        if_due_at: datetime | None,
        dry_run: bool,
        *,
        delay: Delay | None = None,
        eta: datetime | None = None,
    ) -> list[Answer]:
        clock: Literal["in", "at"] = "at" if delay is None else "in"
        when_ms = 0
        if action == "change":
            check_one_time(delay, eta, "a change")
            when_ms = eta_to_ms(eta) if delay is None else delay_to_ms(delay)
        on_answer = self._on_cancelled if action == "cancel" else None
        changes = Changes(
            self.shards, action, clock, when_ms, instant_of(if_due_at), on_answer, dry_run=dry_run is True
        )
        choice = choice_of(tag, kind)
        if (ids is None) == (choice is None):
            given = {"ids": ids, "tag": tag, "name": kind.decode() or None}
            raise wrong("ids", "given, or a tag or a name, and not both", given)
        return changes.by_ids(check_ids(ids)) if choice is None else changes.by_choice(choice)

    def _upcoming(
        self,
        offset: Delay | None,
        duration: Delay | None,
        limit: int,
        skip: int,
        queue: str | None,
        tag: str | None,
        kind: bytes,
        payloads: bool,
    ) -> list[UpcomingT]:
        choice = choice_of(tag, kind)
        page: dict[str, Any] = {
            "offset_ms": _span(offset, "offset"),
            "duration_ms": _span(duration, "duration"),
            "skip": SKIP.check(skip),
            "limit": LIMIT.check(limit),
            "payloads": payloads or self._reads_payloads,
            "queue": None if queue is None else check_queue(queue),
        }
        if choice is None:
            return self._run(self._upcoming_steps(page, payloads))
        return [self._read_upcoming(event, payload=payloads) for event in choice.upcoming(self.shards, **page)]

    def _upcoming_steps(self, page: dict[str, Any], payloads: bool) -> Steps[list[UpcomingT]]:
        found = yield from self.shards.upcoming_steps(**page)
        return [self._read_upcoming(event, payload=payloads) for event in found]

    def leased(self, limit: int = LIMIT.default, *, skip: int = 0, queue: str | None = None) -> list[InfoT]:
        """Return a page of the events in listeners' hands, as ``peek`` shows each; the first lease to lapse first.

        Args:
            limit: Most events of the page, 1 to 1,000.
            skip: Events to leave out, for the next page, up to 10,000.
            queue: Only those of this queue.

        Raises:
            InvalidEventError: One of these is out of its range.
        """
        queue = None if queue is None else check_queue(queue)
        page = self.shards.leased(queue=queue, skip=LEASED_SKIP.check(skip), limit=LEASED.check(limit))
        return [self._read_info(info) for info in page]

    def count(self, offset: Delay | None = None, duration: Delay | None = None) -> Counts:
        """Count the events, reading none: pending (between the bounds of ``upcoming``), leased and parked."""
        bounds = {"offset_ms": _span(offset, "offset"), "duration_ms": _span(duration, "duration")}
        return self._run(self.shards.count_steps(**bounds))

    def forecast(self, step: Delay = 60, intervals: int = 60, offset: Delay = 0) -> dict[str, list[int]]:
        """Count the pending events that come due in each of some intervals, reading none.

        Args:
            step: Length of an interval, 0.001 s to a year.
            intervals: Number of intervals, 1 to 1,000.
            offset: The first begins so long after now. What is due already is in none; ``count(duration=0)`` has it.

        Returns:
            A count an interval, by queue; for each queue that holds anything.

        Raises:
            InvalidEventError: One of these is out of its range, or the last interval ends beyond the year 9999.
        """
        step_ms, intervals = round(STEP.check(step) * 1000), INTERVALS.check(intervals)
        offset_ms = _span(offset, "offset") or 0
        delay_to_ms((offset_ms + step_ms * intervals) / 1000, "the end of the last interval")
        return self.shards.forecast(offset_ms=offset_ms, step_ms=step_ms, intervals=intervals)

    # --- holding

    def _hold(self, queue: str | None, kind: str | None, of_kind: str, why: str, by: str | None) -> bool:
        what = one_of(**{"queue": queue, of_kind: kind})
        note = check_by(by), check_why(why)
        if what == "queue":
            return self.shards.hold("queue", check_queue(queue), *note)
        return self.shards.hold("kind", (check_task if of_kind == "task" else check_kind)(kind), *note)

    def _resume(self, queue: str | None, kind: str | None, of_kind: str) -> bool:
        if one_of(**{"queue": queue, of_kind: kind}) == "queue":
            return self.shards.resume("queue", check_queue(queue))
        return self.shards.resume("kind", (check_task if of_kind == "task" else check_kind)(kind))

    def holds(self) -> list[Hold]:
        """List what is held, with who holds it, since when and why; that which is held longest first."""
        return self.shards.holds()

    # --- an event as the caller sees it

    def _on_cancelled(self, event_id: str, answer: Answer) -> None:
        """Is told of what ``cancel_many`` did."""

    #: Whether ``upcoming`` reads payloads that the caller has not asked for.
    _reads_payloads = False

    @abstractmethod
    def _read_info(self, info: EventInfo) -> InfoT: ...

    @abstractmethod
    def _read_upcoming(self, event: Upcoming, *, payload: bool) -> UpcomingT: ...


def instant_of(if_due_at: datetime | None) -> int | None:
    """Return the instant of a condition in milliseconds since 1970."""
    return None if if_due_at is None else eta_to_ms(if_due_at, "if_due_at")


def _span(span: Delay | None, argument: str) -> int | None:
    if span is None:
        return None
    span_ms = delay_to_ms(span, argument)
    if not span_ms and seconds_of(span):
        raise wrong(argument, "0 or more seconds from now", span, "", InvalidDelayError)
    return span_ms
