"""The result of a post: an AsyncResult that can also ask the timer."""

import types
from contextlib import suppress
from datetime import datetime
from typing import Any

from celery import states
from celery.result import AsyncResult, EagerResult

from celery_dtimer.celery_patches.apps import Native
from celery_dtimer.extension import ATTRIBUTE, Extension, extension_of
from celery_dtimer.posting.cancelling import cancel_task, cancel_task_awaited
from celery_dtimer.posting.eta import delay_of, eta_of
from celery_dtimer.posting.generic import GenericResult, R_co
from celery_dtimer.posting.task_events import TaskInfo
from celery_dtimer.timer.connecting.steps import run_awaited
from celery_dtimer.timer.events import Answer
from celery_dtimer.timer.storing.shard import Store
from celery_dtimer.timer.times import Delay

#: Where a class of results keeps the class that ``timed`` made of it: a registry would keep every app alive.
TIMED = "_dtimer_timed"


class TimerResult(GenericResult[R_co]):
    """The result of a task that was posted, and its event in the timer.

    Every method raises ``TimerUnavailableError`` if the timer's Redis does not answer.
    """

    def peek(self) -> TaskInfo | None:
        """Say where the event is: pending, leased or parked, due when; None once it is confirmed or cancelled."""
        info = self._shard.peek(self.id)
        return None if info is None else TaskInfo.of(info)

    def cancel(self, *, if_due_at: datetime | str | None = None) -> Answer:
        """End the task, unless a worker has it already. The answer is truthy only if it will not run.

        Its state becomes REVOKED, where it has one, and ``get()`` raises ``TaskRevokedError``.

        Args:
            if_due_at: Only if it is due at this instant still, as ``peek`` or an earlier answer said.
        """
        return cancel_task(self._timer, self.id, if_due_ms=_instant(if_due_at))

    def change_delay(self, delay: Delay, *, if_due_at: datetime | str | None = None) -> Answer:
        """Let the task be due ``delay`` from now. The answer is falsy, and nothing changed, if it does not wait."""
        return self._shard.change(self.id, "in", delay_of(delay), if_due_ms=_instant(if_due_at))

    def change_eta(self, eta: datetime | str, *, if_due_at: datetime | str | None = None) -> Answer:
        """Let the task be due at ``eta``. The answer is falsy, and nothing changed, if it does not wait."""
        return self._shard.change(self.id, "at", eta_of(eta), if_due_ms=_instant(if_due_at))

    def run_now(self, *, if_due_at: datetime | str | None = None) -> Answer:
        """Let the task be due now. The answer is falsy, and nothing changed, if it does not wait."""
        return self.change_delay(0, if_due_at=if_due_at)

    async def apeek(self) -> TaskInfo | None:
        """Await what ``peek`` says."""
        info = await run_awaited(self._shard.peek_steps(self.id))
        return None if info is None else TaskInfo.of(info)

    async def acancel(self, *, if_due_at: datetime | str | None = None) -> Answer:
        """Do what ``cancel`` does, and await the answer."""
        return await cancel_task_awaited(self._timer, self.id, if_due_ms=_instant(if_due_at))

    async def achange_delay(self, delay: Delay, *, if_due_at: datetime | str | None = None) -> Answer:
        """Do what ``change_delay`` does, and await the answer."""
        return await run_awaited(self._shard.change_steps(self.id, "in", delay_of(delay), _instant(if_due_at)))

    async def achange_eta(self, eta: datetime | str, *, if_due_at: datetime | str | None = None) -> Answer:
        """Do what ``change_eta`` does, and await the answer."""
        return await run_awaited(self._shard.change_steps(self.id, "at", eta_of(eta), _instant(if_due_at)))

    async def arun_now(self, *, if_due_at: datetime | str | None = None) -> Answer:
        """Do what ``run_now`` does, and await the answer."""
        return await self.achange_delay(0, if_due_at=if_due_at)

    @property
    def _shard(self) -> Store:
        return self._timer.shards.of(self.id)

    @property
    def _timer(self) -> Extension:
        # A class of the user's own may not say which app it is for, and then takes the current one; its backend knows.
        app = getattr(self.backend, "app", None)
        return extension_of(app if hasattr(app, ATTRIBUTE) else self.app)


class NeverPosted:
    """The same methods for a task that ran at once, in the caller, or not at all: there is nothing in the timer."""

    def peek(self) -> None:
        """Return None: there is no event."""

    def cancel(self, *, if_due_at: datetime | str | None = None) -> Answer:
        """Say that there is no event."""
        _instant(if_due_at)
        return Answer()

    def change_delay(self, delay: Delay, *, if_due_at: datetime | str | None = None) -> Answer:
        """Say that there is no event."""
        delay_of(delay)
        return self.cancel(if_due_at=if_due_at)

    def change_eta(self, eta: datetime | str, *, if_due_at: datetime | str | None = None) -> Answer:
        """Say that there is no event."""
        eta_of(eta)
        return self.cancel(if_due_at=if_due_at)

    def run_now(self, *, if_due_at: datetime | str | None = None) -> Answer:
        """Say that there is no event."""
        return self.cancel(if_due_at=if_due_at)

    async def apeek(self) -> None:
        """Return None: there is no event."""

    async def acancel(self, *, if_due_at: datetime | str | None = None) -> Answer:
        """Say that there is no event."""
        return self.cancel(if_due_at=if_due_at)

    async def achange_delay(self, delay: Delay, *, if_due_at: datetime | str | None = None) -> Answer:
        """Say that there is no event."""
        return self.change_delay(delay, if_due_at=if_due_at)

    async def achange_eta(self, eta: datetime | str, *, if_due_at: datetime | str | None = None) -> Answer:
        """Say that there is no event."""
        return self.change_eta(eta, if_due_at=if_due_at)

    async def arun_now(self, *, if_due_at: datetime | str | None = None) -> Answer:
        """Say that there is no event."""
        return self.cancel(if_due_at=if_due_at)


def _instant(if_due_at: datetime | str | None) -> int | None:
    return None if if_due_at is None else eta_of(if_due_at, "if_due_at")


#: Has the timer's methods; a union of them would be made anew at each question.
_TIMED = (TimerResult, NeverPosted)


def timed(result: Any) -> Any:
    """Give a result the timer's methods, and keep its class: an AbortableAsyncResult, or one of the user's own."""
    if isinstance(result, AsyncResult) and not isinstance(result, _TIMED):
        result.__class__ = timed_class(type(result))
    return result


def timed_class(native: Any) -> Any:
    """Return a subclass of a class of results with the timer's methods, except those that it has of its own."""
    if not isinstance(native, type) or issubclass(native, TimerResult | NeverPosted):
        return native
    if native is AsyncResult:
        return TimerResult
    made = vars(native).get(TIMED)
    if made is None:
        methods: type = NeverPosted if issubclass(native, EagerResult) else TimerResult

        def __reduce__(self: Any) -> Any:  # noqa: N807 - a method of the class below
            reduced = native.__reduce__(self)
            # The class itself is in no module.
            return (_again, (native, reduced[1])) if reduced[0] is type(self) else reduced

        made = types.new_class(
            native.__name__,
            (native, methods),
            exec_body=lambda names: names.update(__reduce__=__reduce__, __module__=native.__module__),
        )
        setattr(native, TIMED, made)
    return made


def _again(native: Any, arguments: tuple[Any, ...]) -> Any:
    return timed(native(*arguments))


def posted(result: Any, app: Any) -> Any:
    """Return the result of a post, whose task may have an ``apply_async`` of the user's.

    A singleton's returns the result of the call before, or none.
    """
    if result is None:
        result = EagerResult(None, None, states.REJECTED)
    elif not isinstance(result, AsyncResult) and not hasattr(result, "peek"):
        return TimerResult(result.id, app=app) if hasattr(result, "id") else result
    return timed(result)


class ResultsOf:
    """A task's ``AsyncResult`` method, whose results have the timer's methods too."""

    def __init__(self, task: Any) -> None:
        self._native = Native(task, "AsyncResult")

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Return the result of a task id."""
        return timed(self._native.method(*args, **options))


def time_results(app: Any) -> None:
    """Give the results of ``app.AsyncResult`` the timer's methods."""
    made = timed_class(app.AsyncResult)
    # A property of the user's app class can't be overridden; the results of tasks are timed without it.
    with suppress(AttributeError):
        app.AsyncResult = made
