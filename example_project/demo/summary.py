"""The summary: what was promised, held against the tasks' own records."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from shop import config

from celery_dtimer import Counts
from demo.records import Run
from demo.story import Event, Story

#: A lapsed lease is redelivered within confirm_timeout and so many seconds.
REDELIVERY_GRACE = 1.0

#: What is due within so many seconds after the kill may be late: if the killed worker had promised to wake for it,
#: another one takes the promise over when it next looks, once a second.
TAKEOVER = 1.0


@dataclass(frozen=True)
class Check:
    """One promise, whether it was kept, and what shows it."""

    kept: bool
    promise: str
    evidence: str


@dataclass(frozen=True)
class Judged:
    """A run, with the instant at which the poster knew its event to be due, in seconds since 1970."""

    run: Run
    event: Event
    due: float

    @property
    def lateness(self) -> float:
        """Seconds from the due instant until the task's function started."""
        return self.run.started - self.due


class Summary:
    """What became of the events.

    Args:
        story: The events and their records.
        left: What the timer holds at the end.
    """

    def __init__(self, story: Story, left: Counts) -> None:
        self._story = story
        self._left = left
        self._judged = list(_judge(story))

    def lines(self) -> list[str]:
        """Return the figures."""
        others = [judged for judged in self._judged if not judged.event.held]
        orphaned = [judged for judged in others if 0 <= judged.due - self._story.killed_at < TAKEOVER]
        calm = [judged for judged in others if judged not in orphaned]
        received = [judged.run.received - judged.due for judged in calm]
        return [
            f"{len(self._story.events)} events, {len(self._judged)} runs",
            f"late at the start of the run        {figures([judged.lateness for judged in calm])}",
            f"  of that, to reach a worker        {figures(received)}",
            f"late, due in the second after kill  {figures([judged.lateness for judged in orphaned])}",
            f"late, held by the killed worker     {figures([judged.lateness for judged in self._again()])}",
        ]

    def checks(self) -> list[Check]:
        """Return every promise, kept or broken."""
        return [
            self._all_ran(),
            self._none_early(),
            self._cancelled(),
            self._moved(),
            self._retried(),
            self._redelivered(),
            self._none_twice(),
            Check(
                self._left == Counts(0, 0, 0),
                "the timer is empty",
                f"{self._left.pending} pending, {self._left.leased} leased, {self._left.parked} parked",
            ),
        ]

    def _all_ran(self) -> Check:
        events = self._story.events.values()
        lost = [event for event in events if not event.settled]
        ran, cancelled = sum(event.finished for event in events), sum(bool(event.cancelled) for event in events)
        evidence = _labels(lost) if lost else f"{ran} ran, {cancelled} cancelled"
        return Check(not lost, "every event ran or was cancelled", evidence)

    def _none_early(self) -> Check:
        early = [judged for judged in self._judged if judged.lateness < 0]
        closest = min((judged.lateness for judged in self._judged), default=math.inf)
        evidence = f"{len(self._judged)} runs, the closest {_ms(closest)} late"
        return Check(not early, "no event ran early", _labels(j.event for j in early) if early else evidence)

    def _cancelled(self) -> Check:
        tried = [event for event in self._story.events.values() if event.cancelled is not None]
        kept = bool(tried) and all(event.cancelled and not self._runs(event) for event in tried)
        return Check(kept, "the cancelled event did not run", _labels(tried))

    def _moved(self) -> Check:
        moved = [event for event in self._story.events.values() if event.moved_from is not None]
        kept = bool(moved)
        evidence = []
        for event in moved:
            runs = self._runs(event)
            kept = kept and event.finished and all(judged.lateness >= 0 for judged in runs)
            by = event.dues[-1] - (event.moved_from or 0)
            late = ", ".join(_ms(judged.lateness) for judged in runs)
            evidence.append(f"{event.label}: {by:+.1f} s, {late or 'never'} late")
        return Check(kept, "the moved event ran at its new time", "; ".join(evidence))

    def _retried(self) -> Check:
        waits = []
        for event in self._story.events.values():
            runs = self._runs(event)
            retries = [judged for judged in runs if judged.run.outcome == "RETRY"]
            waits += [later.run.started - judged.run.started for judged, later in pairwise(runs) if judged in retries]
        kept = bool(waits) and all(wait >= config.GATEWAY_RETRY_AFTER for wait in waits)
        evidence = f"{len(waits)} payments, {min(waits, default=0):.2f} s"
        return Check(kept, "retries waited in the timer", f"{evidence}; asked: {config.GATEWAY_RETRY_AFTER:.0f} s")

    def _redelivered(self) -> Check:
        held = [event for event in self._story.events.values() if event.held]
        again = self._again()
        missing = [event for event in held if not any(judged.event is event for judged in again)]
        limit = config.CONFIRM_TIMEOUT + REDELIVERY_GRACE
        after = max((judged.run.received - self._story.killed_at for judged in again), default=0.0)
        started = sum(any(j.run.worker == self._story.killed for j in self._runs(event)) for event in held)
        evidence = (
            f"never again: {_labels(missing)}"
            if missing
            else f"{len(held)} ({started} running), {after:.2f} s; limit {limit:.0f} s"
        )
        kept = not missing and after <= limit
        return Check(kept, f"what {self._story.killed} held ran elsewhere", evidence)

    def _none_twice(self) -> Check:
        events = [event for event in self._story.events.values() if not event.held]
        twice = [event for event in events if len(self._runs(event)) > len(event.dues)]
        return Check(not twice, "no other event ran twice", _labels(twice) if twice else f"{len(events)} events")

    def _runs(self, event: Event) -> list[Judged]:
        return [judged for judged in self._judged if judged.event is event]

    def _again(self) -> list[Judged]:
        """The runs, on other workers, of what the killed worker held."""
        return [judged for judged in self._judged if judged.event.held and judged.run.worker != self._story.killed]


def figures(seconds: Sequence[float]) -> str:
    """Return the median, the 99th percentile and the maximum of some times in seconds."""
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    p50, p99 = (ordered[math.ceil(len(ordered) * share) - 1] for share in (0.5, 0.99))
    return f"p50 {_ms(p50)}  p99 {_ms(p99)}  max {_ms(ordered[-1])}  ({len(ordered)} runs)"


def _judge(story: Story) -> Iterator[Judged]:
    retries = dict.fromkeys(story.events, 0)
    for run in story.records.runs:
        event = story.event_of(run)
        yield Judged(run, event, event.dues[retries[run.event_id]])
        retries[run.event_id] += run.outcome == "RETRY"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms" if abs(seconds) < 1 else f"{seconds:,.2f} s"


def _labels(events: Iterable[Event]) -> str:
    return ", ".join(event.label for event in events) or "none"
