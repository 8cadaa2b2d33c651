"""The timer for asyncio: the methods of a DTimer, awaited."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from celery_dtimer.timer.dtimer import DTimer
from celery_dtimer.timer.events import Delivery
from celery_dtimer.timer.handing import Handing, taken
from celery_dtimer.timer.joining import LEAVE_TIMEOUT
from celery_dtimer.timer.times import Delay

P = ParamSpec("P")
T = TypeVar("T")

#: What an async handler returns, and is awaited: a function that is decorated keeps that.
Awaited = TypeVar("Awaited", bound=Awaitable[object])


def awaited(
    method: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate["AsyncDTimer", P], Coroutine[Any, Any, T]]:
    """Return a method of DTimer's as one of AsyncDTimer's: its arguments, its checks, its result, its errors."""

    @wraps(method)
    async def call(self: "AsyncDTimer", /, *args: P.args, **options: P.kwargs) -> T:
        return await taken(method(self._timer, *args, **options))

    return call


def in_thread(
    method: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate["AsyncDTimer", P], Coroutine[Any, Any, T]]:
    """Return the same of a method that takes many round trips: it runs in a thread of the loop's."""

    @wraps(method)
    async def call(self: "AsyncDTimer", /, *args: P.args, **options: P.kwargs) -> T:
        return await asyncio.to_thread(method, self._timer, *args, **options)

    return call


def awaited_or_in_thread(
    method: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate["AsyncDTimer", P], Coroutine[Any, Any, T]]:
    """Return the same of a method that takes many round trips if it chooses by a tag or a kind."""
    plain, chosen = awaited(method), in_thread(method)

    @wraps(method)
    async def call(self: "AsyncDTimer", /, *args: P.args, **options: P.kwargs) -> T:
        chooses = options.get("tag") is not None or options.get("kind") is not None
        return await (chosen if chooses else plain)(self, *args, **options)

    return call


def made_like(
    method: Callable[Concatenate[Any, P], None],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:
    """Give a constructor the arguments of another."""
    return wraps(method)


class AsyncDTimer:
    """A DTimer for asyncio: the arguments and methods of a ``DTimer``, but they are awaited, and handlers are async.

    The calls go over redis-py's asyncio connections, those of the running loop. The listener is that of a DTimer, with
    its threads: it hands each delivery to the loop in which it joined, where it gets a task.
    """

    @made_like(DTimer.__init__)
    def __init__(self, *args: Any, **options: Any) -> None:
        self._timer = Handing(*args, **options)

    def __repr__(self) -> str:
        return repr(self._timer).replace("<DTimer", "<AsyncDTimer", 1)

    post = awaited(DTimer.post)
    post_many = awaited(DTimer.post_many)
    peek = awaited(DTimer.peek)
    cancel = awaited(DTimer.cancel)
    change_delay = awaited(DTimer.change_delay)
    change_eta = awaited(DTimer.change_eta)
    run_now = awaited(DTimer.run_now)
    count = awaited(DTimer.count)
    upcoming = awaited_or_in_thread(DTimer.upcoming)
    confirm = awaited(DTimer.confirm)
    release = awaited(DTimer.release)
    renew = awaited(DTimer.renew)

    cancel_many = in_thread(DTimer.cancel_many)
    change_many = in_thread(DTimer.change_many)
    forecast = in_thread(DTimer.forecast)
    leased = in_thread(DTimer.leased)
    hold = in_thread(DTimer.hold)
    resume = in_thread(DTimer.resume)
    holds = in_thread(DTimer.holds)
    parked = in_thread(DTimer.parked)
    replay = in_thread(DTimer.replay)
    replay_many = in_thread(DTimer.replay_many)
    drop = in_thread(DTimer.drop)
    drop_many = in_thread(DTimer.drop_many)
    damaged = in_thread(DTimer.damaged)
    drop_damaged = in_thread(DTimer.drop_damaged)
    limit_catch_up = in_thread(DTimer.limit_catch_up)
    catch_up_limit = in_thread(DTimer.catch_up_limit)
    forget_catch_up_limit = in_thread(DTimer.forget_catch_up_limit)

    # --- listening

    def on_event(self, handler: Callable[[Delivery], Awaited]) -> Callable[[Delivery], Awaited]:
        """Set the async function that gets each delivery, in a task of its own; usable as a decorator.

        When it returns, the event is confirmed. While it runs, the lease is renewed, and it counts for ``max_events``.
        If it raises, or is cancelled, the event is delivered again a second later; an error goes to the error handler.

        Raises:
            HandlerError: It is not async, or can't be called with one argument.
        """
        self._timer.on_event(handler)
        return handler

    def on_error(self, handler: Callable[[BaseException], Awaited]) -> Callable[[BaseException], Awaited]:
        """Set the async function that gets the errors of the event handler and of Redis; usable as a decorator.

        Raises:
            HandlerError: It is not async, or can't be called with one argument.
        """
        self._timer.on_error(handler)
        return handler

    async def join(self) -> None:
        """Start to listen, and hand the deliveries to the running loop. Does nothing if it listens already.

        Raises:
            HandlerError: No event handler is set.
            EvictionPolicyError: Redis may evict the timer's keys, and ``eviction_check`` is ``"error"``.
            SettingsError: The namespace has another number of shards.
        """
        await self._timer.start()

    async def leave(self, timeout: Delay | None = LEAVE_TIMEOUT.default) -> bool:  # noqa: ASYNC109 - as of a DTimer
        """Claim nothing more, wait for the running handlers, and stop to listen. Does nothing if it does not listen.

        Args:
            timeout: Longest wait, in seconds or as a timedelta; None: without an end.

        Returns:
            Whether the handlers and the listener have ended. A call from within a handler does not wait for that one.
        """
        return await self._timer.end(timeout)

    def __aiter__(self) -> AsyncIterator[Delivery]:
        """Join, and go through the deliveries, instead of a handler; leave at the end.

        Each is for the caller to confirm, within ``confirm_timeout``. Another task's ``leave`` ends it.

        Raises:
            HandlerError: The timer has an event handler, or is iterated over already.
        """
        return self._timer.deliveries()

    @property
    def max_events(self) -> int:
        """Most events held at a time. A value below 1 restores the first one."""
        return self._timer.max_events

    @max_events.setter
    def max_events(self, count: int) -> None:
        self._timer.max_events = count

    async def close(self) -> None:
        """Leave, and close the connections of this loop. Later calls work, on new ones."""
        await self._timer.shut()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
