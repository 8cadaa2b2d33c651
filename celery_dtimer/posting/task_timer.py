"""The timer of an app: its events are tasks, and the app's workers listen."""

from collections.abc import Iterable
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, NoReturn

from celery_dtimer.errors import NotForTasksError, TooManyHoldsError
from celery_dtimer.extension import Extension, extension_of
from celery_dtimer.posting.cancelling import cancel_task, on_cancelled
from celery_dtimer.posting.task_events import ParkedTask, TaskInfo, UpcomingTask, with_task
from celery_dtimer.timer.checks import check_id
from celery_dtimer.timer.events import Answer, EventInfo, Hold, Upcoming
from celery_dtimer.timer.options import names_behind
from celery_dtimer.timer.parked import Unparked
from celery_dtimer.timer.parking import LIMIT, kind_filter
from celery_dtimer.timer.stored import LIMIT as UPCOMING_LIMIT
from celery_dtimer.timer.stored import SKIP, StoredEvents, instant_of
from celery_dtimer.timer.times import Delay


class TaskTimer(StoredEvents[TaskInfo, UpcomingTask]):
    """The events of an app: its delayed tasks. The app's workers listen, and its tasks are posted by their own methods.

    Args:
        extension: The app's timer. Its connections are shared.
    """

    _reads_payloads = True

    def __init__(self, extension: Extension) -> None:
        super().__init__(extension.shards)
        self._extension = extension

    def cancel(self, id: str, *, if_due_at: datetime | None = None) -> Answer:  # noqa: A002 - the word of the original
        """End the task of an id, unless a worker has it, as ``TimerResult.cancel`` does."""
        return cancel_task(self._extension, check_id(id), if_due_ms=instant_of(if_due_at))

    def _on_cancelled(self, event_id: str, answer: Answer) -> None:
        on_cancelled(self._extension, event_id, answer)

    def hold(self, *, queue: str | None = None, task: str | None = None, why: str = "", by: str | None = None) -> bool:
        """Let no worker claim what is of a queue, or of a task, until it is resumed; posts go on.

        Workers obey within a second. What they have claimed already still runs. A hold lasts in Redis. One that is made
        again has the new note.

        Args:
            queue: The queue's name.
            task: Or the task's; its old names in ``dtimer_task_aliases`` are held with it.
            why: The reason, for others who ask, up to 1,000 bytes.
            by: Who holds it, up to 255 bytes; by default user@host.

        Returns:
            False if it was held before.

        Raises:
            InvalidEventError: An argument is wrong, or not exactly one of queue and task is given.
            TooManyHoldsError: 27 tasks are held.
        """
        made: list[str | None] = []
        try:
            made.extend(name for name in self._names_of(task) if self._hold(queue, name, "task", why, by))
        except TooManyHoldsError:
            for name in made:
                self._resume(queue, name, "task")
            raise
        return bool(made)

    def resume(self, *, queue: str | None = None, task: str | None = None) -> bool:
        """Let a queue, or a task with its old names, be claimed again. False if it was not held."""
        return True in [self._resume(queue, name, "task") for name in self._names_of(task)]

    def _names_of(self, task: str | None) -> list[str | None]:
        """Return a task's name, and the old ones that lead to it."""
        if not isinstance(task, str):
            return [task]
        aliases = self._extension.settings.task_aliases or {}
        return [task, *(old for old in aliases if task in names_behind(old, aliases))]

    def holds(self) -> list[Hold]:
        """List what is held, with who holds it, since when and why; that which is held longest first."""
        return [replace(hold, what="queue" if hold.what == "queue" else "task") for hold in super().holds()]

    def upcoming(
        self,
        offset: Delay | None = None,
        duration: Delay | None = None,
        limit: int = UPCOMING_LIMIT.default,
        *,
        skip: int = SKIP.default,
        queue: str | None = None,
        tag: str | None = None,
        task: str | None = None,
        payloads: bool = False,
    ) -> list[UpcomingTask]:
        """Return a page of the pending tasks, soonest first.

        Args:
            offset: Start, as time from now; None: from the first, overdue ones included.
            duration: Length from the offset (from now, without one); None: without an end.
            limit: Most tasks of the page, 1 to 10,000.
            skip: Tasks to leave out, for the next page.
            queue: Only those of this queue.
            tag: Only those with this tag: costs as much as there are of it, whatever else there is.
            task: Only those of this task: looks through what waits, from the soonest on, until the page is full.
            payloads: Whether to read the payloads too.

        Raises:
            InvalidEventError: One of these is out of its range.
        """
        return self._upcoming(offset, duration, limit, skip, queue, tag, kind_filter(task, "task"), payloads)

    def cancel_many(
        self,
        ids: Iterable[str] | None = None,
        *,
        tag: str | None = None,
        task: str | None = None,
        if_due_at: datetime | None = None,
        dry_run: bool = False,
    ) -> list[Answer]:
        """End tasks that wait or are parked, in batches of a hundred a round trip: some ids, a tag, or a task.

        Args:
            ids: Their ids; one that is given twice is asked for once.
            tag: Or all that have this tag.
            task: Or all of this task: looks through all that waits or is parked. With a tag: those that are both.
            if_due_at: Only what is due at this instant.
            dry_run: Change nothing, and answer as if it were done.

        Returns:
            What ``cancel`` answers of each id, in order; without ids, of each that was found, without payloads.

        Raises:
            InvalidEventError: An argument is wrong; nothing was cancelled.
            ChangeManyError: Redis did not answer; it has the answers so far.
        """
        return self._change_many("cancel", ids, tag, kind_filter(task, "task"), if_due_at, dry_run)

    def change_many(
        self,
        ids: Iterable[str] | None = None,
        delay: Delay | None = None,
        *,
        eta: datetime | None = None,
        tag: str | None = None,
        task: str | None = None,
        if_due_at: datetime | None = None,
        dry_run: bool = False,
    ) -> list[Answer]:
        """Let tasks that wait be due ``delay`` from now, or at ``eta``; chosen as by ``cancel_many``.

        Args:
            ids: Their ids; one that is given twice is asked for once.
            delay: Seconds or a timedelta; negative means now.
            eta: Or the instant, an aware datetime.
            tag: In place of ids, all that have this tag.
            task: In place of ids, all of this task.
            if_due_at: Only what is due at this instant.
            dry_run: Change nothing, and answer as if it were done, but for the new instants.

        Returns:
            What ``change_delay`` answers of each id, in order; without ids, of each that was found.

        Raises:
            InvalidEventError: An argument is wrong; nothing was changed.
            ChangeManyError: Redis did not answer; it has the answers so far.
        """
        name = kind_filter(task, "task")
        return self._change_many("change", ids, tag, name, if_due_at, dry_run, delay=delay, eta=eta)

    def parked(
        self,
        limit: int = LIMIT.default,
        *,
        after: str | None = None,
        tag: str | None = None,
        task: str | None = None,
        reason: str | None = None,
        id: str | None = None,  # noqa: A002 - the word of the original
    ) -> list[ParkedTask]:
        """Return a page of the parked tasks, the newest first.

        Args:
            limit: At most so many, 1 to 10,000.
            after: The ``cursor`` of the last one of the page before.
            tag: Only those with this tag.
            task: Only those of this task.
            reason: Only those that have this text in their reason.
            id: Only those of this id, the one that was claimed last first; there is no page behind this one.

        Raises:
            InvalidEventError: One of these is wrong: a cursor of another timer, say.
        """
        page = self._parked(limit, after, kind_filter(task, "task"), reason, id, tag)
        return [ParkedTask(**{field.name: getattr(event, field.name) for field in fields(event)}) for event in page]

    def replay_many(
        self,
        ids: Iterable[str] | None = None,
        *,
        tag: str | None = None,
        task: str | None = None,
        reason: str | None = None,
        all: bool = False,  # noqa: A002 - the plain word
        rate: float | None = None,
        delay: Delay = 0,
        dry_run: bool = False,
    ) -> Unparked:
        """Make parked tasks pending again, in batches: some ids, those of a tag, a task or a reason, or all.

        Of one id, the newest is. What is parked meanwhile stays parked.

        Args:
            ids: Their ids; no other of these then.
            tag: Only those with this tag.
            task: Only those of this task.
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
            kind_filter(task, "task"),
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
        task: str | None = None,
        reason: str | None = None,
        all: bool = False,  # noqa: A002 - the plain word
        dry_run: bool = False,
    ) -> Unparked:
        """End parked tasks for good, chosen as by ``replay_many``.

        Raises:
            InvalidEventError: An argument is wrong, or not exactly one choice is made; nothing was dropped.
            TimerUnavailableError: Redis did not answer; it says how many were dropped before.
        """
        return self._unpark("drop", ids, kind_filter(task, "task"), reason, tag, everything=all, dry_run=dry_run)

    def _read_info(self, info: EventInfo) -> TaskInfo:
        return TaskInfo.of(info)

    def _read_upcoming(self, event: Upcoming, *, payload: bool) -> UpcomingTask:
        task = UpcomingTask(**with_task(event))
        return task if payload else replace(task, payload=None)

    def join(self) -> NoReturn:
        """Refuse: the workers of the app listen.

        Raises:
            NotForTasksError: Always.
        """
        raise NotForTasksError(
            "the timer of an app does not join: the app's workers listen, and run its tasks. To listen for events of "
            "your own, make a DTimer(url): it has nothing in common with the app, whatever its namespace"
        )

    def post(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: an app's workers run tasks, which are posted by their ``post_in``, ``post_at`` or ``post``.

        Raises:
            NotForTasksError: Always.
        """
        raise NotForTasksError(
            "the timer of an app stores tasks: call post_in, post_at, post or post_many of the task. To post events of "
            "your own, make a DTimer(url)"
        )

    post_many = post


def get_timer(app: Any) -> TaskTimer:
    """Return the timer of an app: to count, list, peek at, cancel, move and replay its delayed tasks.

    It shares the app's connections. The app's workers listen, so it has no ``join``.

    Raises:
        NotInstalledError: ``install(app)`` was not called.
        SettingsError: A setting is wrong.
    """
    return TaskTimer(extension_of(app))
