"""The timer as a test steers it: what waits, what time it is, and what runs when it is later."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any, Protocol

from celery import signals

from celery_dtimer.extension import DELIVERY_HEADER
from celery_dtimer.posting.task_events import UpcomingTask
from celery_dtimer.signals import event_posted
from celery_dtimer.testing.extension import VirtualExtension
from celery_dtimer.testing.in_process import InProcess
from celery_dtimer.testing.in_worker import InWorker
from celery_dtimer.testing.tasks import FiredTask
from celery_dtimer.testing.waiting import Waiting, due_ms
from celery_dtimer.timer.events import State
from celery_dtimer.timer.times import Delay, eta_to_ms, seconds_of

#: Tasks that may run at one instant: more are one that posts itself, again and again, without a delay.
MOST_AT_ONCE = 10_000


class FrozenTime(Protocol):
    """The time of this process as a library has stopped it: time-machine's, or freezegun's."""

    def move_to(self, destination: Any, /) -> Any:
        """Let it be that time."""


class VirtualTimer(Waiting):
    """The timer of an app during a test. Its time stands still, and moves when the test says so.

    Args:
        extension: The app's timer.
        patience: Seconds for which a worker is waited for.

    Attributes:
        app: The app.
    """

    def __init__(self, extension: VirtualExtension, patience: float) -> None:
        super().__init__(extension)
        self._frozen: FrozenTime | None = None
        self._in_process = InProcess(extension)
        self._in_worker = InWorker(extension, self._due, patience)
        self._fired: list[FiredTask] = []
        self._failures: list[BaseException] = []

    # --- time

    def move_with(self, frozen: FrozenTime) -> None:
        """Let the host's time, which a library has stopped, be the test's from now on, and move with it.

        Args:
            frozen: What ``time_machine.travel(...)`` or ``freezegun.freeze_time(...)`` returns when it is entered.
        """
        self._frozen = frozen
        self._extension.set_clock(time.time_ns() // 1_000_000)

    def advance(
        self, by: Delay | None = None, /, *, to: datetime | None = None, propagate: bool = True, **span: float
    ) -> list[FiredTask]:
        """Let time pass. All that comes due runs: in the order of the instants, each at its own.

        Without a worker in this process, tasks run in this thread. With one, it runs them, and is waited for.

        Args:
            by: Seconds, or a timedelta.
            to: Or the instant, an aware datetime.
            propagate: Raise the error of the first task that fails; the time is its instant then. If false, errors are
                in the tasks' results alone.
            span: Or ``days=``, ``hours=`` and so on, as of a timedelta.

        Returns:
            The tasks that ran, in order, without those that ran in other processes.

        Raises:
            ValueError: It is no time to come.
            celery.exceptions.NotRegistered: A task is due that the app does not have.
            TimeoutError: The worker has not run what is due.
            RuntimeError: Tasks go on posting tasks for the same instant.
            Exception: Whatever a task raises, see ``propagate``.
        """
        until_ms = self._until(by, to, span)
        first = len(self._fired)
        stuck: set[str] = set()
        at_once: Counter[int] = Counter()
        if self._extension.consumers:
            self._in_worker.settle(set())  # what it has begun already
        while batch := self._next(until_ms, stuck):
            now_ms = max(self._extension.now_ms, due_ms(batch[0]))
            at_once[now_ms] += len(batch)
            if at_once[now_ms] > MOST_AT_ONCE:
                raise RuntimeError(
                    f"{MOST_AT_ONCE} tasks ran at one instant: does one post itself without a delay?{self._shown()}"
                )
            once = (
                self._in_worker.prepare((event.id for event in batch), now_ms) if self._extension.consumers else set()
            )
            self._move(now_ms)
            if self._extension.consumers:
                self._in_worker.settle(once)
                self._report_failures(propagate=propagate)
            else:
                self._run(batch, stuck, propagate=propagate)
        self._move(until_ms)
        return self._fired[first:]

    def fire(self, task: Any, *, propagate: bool = True) -> FiredTask | None:
        """Run one task that waits, now, whatever its time.

        Args:
            task: The result of its post, what ``pending`` returned of it, or its id.
            propagate: Raise its error.

        Returns:
            The task that ran; None if it did not, since it had expired, say.

        Raises:
            LookupError: It does not wait, or is held.
            Exception: Whatever the task raises, see ``propagate``.
        """
        event_id = task if isinstance(task, str) else task.id
        info = self.timer.peek(event_id)
        if info is None or info.state is not State.PENDING:
            found = "unknown" if info is None else info.state
            raise LookupError(f"no task with the id {event_id} waits, it is {found}{self._shown()}")
        if self._held() & {("queue", info.queue), ("task", info.task)}:
            raise LookupError(f"the task with the id {event_id} is held{self._shown()}")
        first, now_ms = len(self._fired), self._extension.now_ms
        if self._extension.consumers:
            once = self._in_worker.prepare([event_id], now_ms)
            self.timer.run_now(event_id)
            self._in_worker.settle(once)
        else:
            self.timer.run_now(event_id)
            self._in_process.fire(event_id, info.queue, now_ms, now_ms, alone=False)
        self._report_failures(propagate=propagate)
        return next((fired for fired in self._fired[first:] if fired.id == event_id), None)

    # --- inside

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Note what is posted, what runs and what fails."""

        def posted(id: str, **_: Any) -> None:  # noqa: A002 - the signal's name for it
            self._posted[id] = len(self._posted)

        def starts(sender: Any, task_id: str, args: Any, kwargs: Any, **_: Any) -> None:
            if self._is_fired(sender):
                retries = sender.request.retries or 0
                self._fired.append(FiredTask(sender.name, task_id, tuple(args), dict(kwargs), self.now, retries))

        def failed(sender: Any, exception: BaseException, **_: Any) -> None:
            if self._is_fired(sender):
                # Celery's is another one if it can't be pickled.
                self._failures.append(sys.exc_info()[1] or exception)

        with ExitStack() as undone:
            undone.enter_context(self._in_worker.watching())
            for signal, receiver in (
                (event_posted, posted),
                (signals.task_prerun, starts),
                (signals.task_failure, failed),
            ):
                signal.connect(receiver, weak=False)
                undone.callback(signal.disconnect, receiver)
            yield

    def _is_fired(self, task: Any) -> bool:
        return task.app is self.app and getattr(task.request, DELIVERY_HEADER, None) is not None

    def _until(self, by: Delay | None, to: datetime | None, span: dict[str, float]) -> int:
        given = [kind for kind in (by, to, span or None) if kind is not None]
        if len(given) != 1:
            raise ValueError(f"advance() needs one of a span and to=, got {given}")
        until_ms = self._extension.now_ms
        if to is not None:
            until_ms = eta_to_ms(to, "to")
        else:
            seconds = timedelta(**span).total_seconds() if by is None else seconds_of(by)
            if seconds is None:
                raise ValueError(f"advance() needs seconds or a timedelta, got {by!r}")
            until_ms += round(seconds * 1000)
        if until_ms < self._extension.now_ms:
            raise ValueError(f"time must pass, and not go back, got {given[0]} at {self.now:%F %T} UTC")
        return until_ms

    def _move(self, now_ms: int) -> None:
        self._extension.set_clock(now_ms)
        if self._frozen is not None:
            self._frozen.move_to(self.now)

    def _next(self, until_ms: int, stuck: set[str]) -> list[UpcomingTask]:
        """Return what is due next, all of one instant, in the order of the posts."""
        batch: list[UpcomingTask] = []
        for event in self._unheld(until_ms):
            if batch and event.due_at != batch[0].due_at:
                break
            if event.id not in stuck:
                batch.append(event)
        return sorted(batch, key=self._order)

    def _run(self, batch: list[UpcomingTask], stuck: set[str], *, propagate: bool) -> None:
        now_ms = self._extension.now_ms
        for event in batch:
            if not self._in_process.fire(event.id, event.queue, due_ms(event), now_ms, alone=len(batch) == 1):
                stuck.add(event.id)
            self._report_failures(propagate=propagate)

    def _report_failures(self, *, propagate: bool) -> None:
        failures, self._failures = self._failures, []
        if failures and propagate:
            raise failures[0]
