"""What the operator of a DTimer does with many events at once: hold, replay, drop."""

from collections.abc import Iterable
from datetime import datetime

from celery_dtimer.timer.events import Answer, Upcoming
from celery_dtimer.timer.joining import Joining
from celery_dtimer.timer.parked import ParkedEvent, Unparked
from celery_dtimer.timer.parking import LIMIT, kind_filter
from celery_dtimer.timer.stored import LIMIT as UPCOMING_LIMIT
from celery_dtimer.timer.stored import SKIP
from celery_dtimer.timer.times import Delay


class Steering(Joining):
    """The half of a DTimer that steers it."""

    # --- holding

    def hold(self, *, queue: str | None = None, kind: str | None = None, why: str = "", by: str | None = None) -> bool:
        """Let no listener claim what is of a queue, or of a kind, until it is resumed; posts go on.

        What listeners have claimed already is theirs. A hold lasts in Redis. One that is made again has the new note.

        Args:
            queue: The queue's name.
            kind: Or the kind, see ``post``.
            why: The reason, for others who ask, up to 1,000 bytes.
            by: Who holds it, up to 255 bytes; by default user@host.

        Returns:
            False if it was held before.

        Raises:
            InvalidEventError: An argument is wrong, or not exactly one of queue and kind is given.
            TooManyHoldsError: 27 kinds are held.
        """
        return self._hold(queue, kind, "kind", why, by)

    def resume(self, *, queue: str | None = None, kind: str | None = None) -> bool:
        """Let a queue, or a kind, be claimed again. False if it was not held."""
        return self._resume(queue, kind, "kind")

    def upcoming(
        self,
        offset: Delay | None = None,
        duration: Delay | None = None,
        limit: int = UPCOMING_LIMIT.default,
        *,
        skip: int = SKIP.default,
        queue: str | None = None,
        tag: str | None = None,
        kind: str | None = None,
        payloads: bool = False,
    ) -> list[Upcoming]:
        """Return a page of the pending events, soonest first.

        Args:
            offset: Start, as time from now; None: from the first, overdue ones included.
            duration: Length from the offset (from now, without one); None: without an end.
            limit: Most events of the page, 1 to 10,000.
            skip: Events to leave out, for the next page.
            queue: Only those of this queue.
            tag: Only those with this tag: costs as much as there are of it, whatever else there is.
            kind: Only those of this kind: looks through what waits, from the soonest on, until the page is full.
            payloads: Whether to read the payloads too.

        Raises:
            InvalidEventError: One of these is out of its range.
        """
        return self._upcoming(offset, duration, limit, skip, queue, tag, kind_filter(kind, "kind"), payloads)

    def cancel_many(
        self,
        ids: Iterable[str] | None = None,
        *,
        tag: str | None = None,
        kind: str | None = None,
        if_due_at: datetime | None = None,
        dry_run: bool = False,
    ) -> list[Answer]:
        """End events that wait or are parked, in batches of a hundred a round trip: some ids, a tag, or a kind.

        Args:
            ids: Their ids; one that is given twice is asked for once.
            tag: Or all that have this tag.
            kind: Or all of this kind: looks through all that waits or is parked. With a tag: those that are both.
            if_due_at: Only what is due at this instant.
            dry_run: Change nothing, and answer as if it were done.

        Returns:
            What ``cancel`` answers of each id, in order; without ids, of each that was found, without payloads.

        Raises:
            InvalidEventError: An argument is wrong; nothing was cancelled.
            ChangeManyError: Redis did not answer; it has the answers so far.
        """
        return self._change_many("cancel", ids, tag, kind_filter(kind, "kind"), if_due_at, dry_run)

    def change_many(
        self,
        ids: Iterable[str] | None = None,
        delay: Delay | None = None,
        *,
        eta: datetime | None = None,
        tag: str | None = None,
        kind: str | None = None,
        if_due_at: datetime | None = None,
        dry_run: bool = False,
    ) -> list[Answer]:
        """Let events that wait be due ``delay`` from now, or at ``eta``; chosen as by ``cancel_many``.

        Args:
            ids: Their ids; one that is given twice is asked for once.
            delay: Seconds or a timedelta; negative means now.
            eta: Or the instant, an aware datetime.
            tag: In place of ids, all that have this tag.
            kind: In place of ids, all of this kind.
            if_due_at: Only what is due at this instant.
            dry_run: Change nothing, and answer as if it were done, but for the new instants.

        Returns:
            What ``change_delay`` answers of each id, in order; without ids, of each that was found.

        Raises:
            InvalidEventError: An argument is wrong; nothing was changed.
            ChangeManyError: Redis did not answer; it has the answers so far.
        """
        name = kind_filter(kind, "kind")
        return self._change_many("change", ids, tag, name, if_due_at, dry_run, delay=delay, eta=eta)

    # --- what is parked

    def parked(
        self,
        limit: int = LIMIT.default,
        *,
        after: str | None = None,
        tag: str | None = None,
        kind: str | None = None,
        reason: str | None = None,
        id: str | None = None,  # noqa: A002 - the word of the original
    ) -> list[ParkedEvent]:
        """Return a page of the parked events, the newest first.

        Args:
            limit: At most so many, 1 to 10,000.
            after: The ``cursor`` of the last one of the page before.
            tag: Only those with this tag.
            kind: Only those of this kind.
            reason: Only those that have this text in their reason.
            id: Only those of this id, the one that was claimed last first; there is no page behind this one.

        Raises:
            InvalidEventError: One of these is wrong: a cursor of another timer, say.
        """
        return self._parked(limit, after, kind_filter(kind, "kind"), reason, id, tag)

    def replay_many(
        self,
        ids: Iterable[str] | None = None,
        *,
        tag: str | None = None,
        kind: str | None = None,
        reason: str | None = None,
        all: bool = False,  # noqa: A002 - the plain word
        rate: float | None = None,
        delay: Delay = 0,
        dry_run: bool = False,
    ) -> Unparked:
        """Make parked events pending again, in batches: some ids, those of a tag, a kind or a reason, or all.

        Of one id, the newest is. What is parked meanwhile stays parked.

        Args:
            ids: Their ids; no other of these then.
            tag: Only those with this tag.
            kind: Only those of this kind.
            reason: Only those that have this text in their reason.
            all: Every one.
            rate: They are due one after the other, so many a second, 0.001 to 1,000,000; None: all at once.
            delay: The first is due so long from now.
            dry_run: Change nothing, and answer as if it were done.

        Raises:
            InvalidEventError: One of these is wrong, or not exactly one choice is made; nothing was changed.
            TimerUnavailableError: Redis did not answer; it says how many were made pending before.
        """
        return self._unpark(
            "replay",
            ids,
            kind_filter(kind, "kind"),
            reason,
            tag,
            everything=all,
            rate=rate,
            delay=delay,
            dry_run=dry_run,
        )

    def drop_many(
        self,
        ids: Iterable[str] | None = None,
        *,
        tag: str | None = None,
        kind: str | None = None,
        reason: str | None = None,
        all: bool = False,  # noqa: A002 - the plain word
        dry_run: bool = False,
    ) -> Unparked:
        """End parked events for good, chosen as by ``replay_many``.

        Raises:
            InvalidEventError: An argument is wrong, or not exactly one choice is made; nothing was dropped.
            TimerUnavailableError: Redis did not answer; it says how many were dropped before.
        """
        return self._unpark("drop", ids, kind_filter(kind, "kind"), reason, tag, everything=all, dry_run=dry_run)
