"""What waits in the timer of an app, as a test asks for it and asserts it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from celery_dtimer.posting.task_events import UpcomingTask
from celery_dtimer.posting.task_timer import TaskTimer
from celery_dtimer.testing.extension import VirtualExtension
from celery_dtimer.testing.tasks import PendingTask, has_arguments, pending_task, shown_call
from celery_dtimer.timer.times import Delay, delay_to_ms, eta_to_ms, ms_to_datetime

#: Tasks that are read together: at first a few, since mostly the soonest is the next.
FIRST_PAGE, PAGE = 2, 1000

#: How much an instant may differ from the one that an assertion names: that of a task whose code asks the host's clock.
WITHIN = timedelta(seconds=1)


class Waiting:
    """The half of a VirtualTimer that looks, and changes nothing.

    Args:
        extension: The app's timer.
    """

    def __init__(self, extension: VirtualExtension) -> None:
        self.app = extension.app
        self._extension = extension
        self._posted: dict[str, int] = {}  # id -> number of its last post

    @property
    def timer(self) -> TaskTimer:
        """The app's timer, as ``get_timer(app)`` returns it."""
        return TaskTimer(self._extension)

    @property
    def now(self) -> datetime:
        """The test's time, in UTC; it began at the host's."""
        return ms_to_datetime(self._extension.now_ms)

    def pending(
        self,
        task: Any = None,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        tag: str | None = None,
    ) -> list[PendingTask]:
        """List the tasks that wait, the soonest first, and those of one instant as they were posted.

        Args:
            task: Only those of this task, or of this name.
            args: Only those with these arguments.
            kwargs: Only those with these keyword arguments.
            queue: Only those of this queue.
            tag: Only those with this tag.
        """
        name = getattr(task, "name", task)
        found = (pending_task(event, self.now) for event in self._soonest())
        return sorted(
            (
                one
                for one in found
                if name in {None, one.task}
                and has_arguments(one, args, kwargs)
                and queue in {None, one.queue}
                and (tag is None or tag in one.tags)
            ),
            key=self._order,
        )

    def assert_posted(
        self,
        task: Any,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        in_: Delay | None = None,
        at: datetime | None = None,
        queue: str | None = None,
        tag: str | None = None,
        within: Delay = WITHIN,
    ) -> PendingTask:
        """Assert that a task waits.

        Args:
            task: The task, or its name.
            args: Its arguments; None: whatever they are.
            kwargs: Its keyword arguments.
            in_: How long after the test's now it is due, in seconds or as a timedelta.
            at: Or when, an aware datetime.
            queue: The queue that it waits in.
            tag: One of its tags.
            within: How much the time may differ, in seconds or as a timedelta.

        Returns:
            The soonest of those that are so.

        Raises:
            AssertionError: None is so; it says what waits.
        """
        __tracebackhide__ = True
        found = self.pending(task, args=args, kwargs=kwargs, queue=queue, tag=tag)
        wanted = None if at is None else ms_to_datetime(eta_to_ms(at, "at"))
        if in_ is not None:
            wanted = self.now + timedelta(milliseconds=delay_to_ms(in_, "in_"))
        if wanted is not None:
            most = timedelta(milliseconds=delay_to_ms(within, "within"))
            found = [one for one in found if abs(one.due_at - wanted) <= most]
        if not found:
            what = _wanted(task, args, kwargs)
            when = "" if wanted is None else f" in {wanted - self.now}, at {wanted:%F %T %Z}"
            raise AssertionError(f"{what} does not wait{when}{self._shown()}")
        return found[0]

    def assert_not_posted(
        self,
        task: Any,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: str | None = None,
        tag: str | None = None,
    ) -> None:
        """Assert that a task does not wait, see ``assert_posted``.

        Raises:
            AssertionError: One does; it says what waits.
        """
        __tracebackhide__ = True
        if self.pending(task, args=args, kwargs=kwargs, queue=queue, tag=tag):
            raise AssertionError(f"{_wanted(task, args, kwargs)} waits{self._shown()}")

    def _soonest(self) -> Iterator[UpcomingTask]:
        timer, skip, size = self.timer, 0, FIRST_PAGE
        while page := timer.upcoming(skip=skip, limit=size, payloads=True):
            yield from page
            skip, size = skip + len(page), PAGE

    def _unheld(self, until_ms: int) -> Iterator[UpcomingTask]:
        """Yield what is due by an instant, and may be claimed; soonest first."""
        held = self._held()
        for event in self._soonest():
            if due_ms(event) > until_ms:
                return
            if not held & {("queue", event.queue), ("task", event.task)}:
                yield event

    def _held(self) -> set[tuple[str, str | None]]:
        return {(hold.what, hold.name) for hold in self.timer.holds()}

    def _due(self) -> list[PendingTask]:
        return [pending_task(event, self.now) for event in self._unheld(self._extension.now_ms)]

    def _order(self, event: UpcomingTask | PendingTask) -> tuple[datetime, int, str]:
        return event.due_at, self._posted.get(event.id, len(self._posted)), event.id

    def _shown(self) -> str:
        lines = "".join(f"\n  {task}" for task in self.pending())
        return f". Pending at {self.now:%F %T} UTC:{lines or ' nothing'}"


def due_ms(event: UpcomingTask) -> int:
    """Return when an event is due, in milliseconds since 1970."""
    return eta_to_ms(event.due_at)


def _wanted(task: Any, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None) -> str:
    name = str(getattr(task, "name", task) or "a task")
    return name if args is None and kwargs is None else shown_call(name, args or (), kwargs or {})
