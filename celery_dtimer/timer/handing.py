"""The listener of an AsyncDTimer: the threads of a DTimer's, which hand their deliveries to an event loop."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from celery_dtimer.errors import HandlerError
from celery_dtimer.timer.connecting.links import links_of
from celery_dtimer.timer.connecting.steps import Steps, run_awaited
from celery_dtimer.timer.dtimer import DTimer
from celery_dtimer.timer.events import Delivery
from celery_dtimer.timer.handlers import check_handler
from celery_dtimer.timer.joining import BACKOFF_MS, LEAVE_TIMEOUT, Returned, no_handler
from celery_dtimer.timer.listening.config import Room
from celery_dtimer.timer.listening.listener import Listener
from celery_dtimer.timer.shown import shown
from celery_dtimer.timer.times import Delay

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: The handler that the code here runs for, in whatever task of its: a leave does not wait for it.
_within: ContextVar[asyncio.Task[None] | None] = ContextVar("_within", default=None)


def untaken(steps: Steps[T]) -> T:
    """Return the steps of an operation as they are, for ``taken``; no type can say that."""
    return cast("T", steps)


async def taken(steps: T) -> T:
    """Take the steps that a method of a Handing has returned, on the running loop."""
    return await run_awaited(cast("Steps[T]", steps))


class Handing(DTimer):
    """A DTimer whose operations return their steps, untaken, and whose deliveries go to an event loop.

    There, each has a task of its own, which runs the handler and confirms; or they wait to be iterated over.
    """

    _run = staticmethod(untaken)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self._handed: set[Delivery] = set()  # to handlers that have not ended
        self._tasks: set[asyncio.Task[None]] = set()
        self._leavers: set[asyncio.Task[None]] = set()
        self._queue: asyncio.Queue[tuple[Listener, Delivery] | None] | None = None

    def on_event(self, handler: Callable[[Delivery], Returned]) -> Callable[[Delivery], Returned]:
        """Set the handler, see AsyncDTimer."""
        check_handler(handler, "on_event()", "the delivery", awaited=True)
        self._event_handler = handler
        return handler

    def on_error(self, handler: Callable[[BaseException], Returned]) -> Callable[[BaseException], Returned]:
        """Set the handler of errors, see AsyncDTimer."""
        check_handler(handler, "on_error()", "the exception", awaited=True)
        self._error_handler = handler
        return handler

    async def start(self) -> None:
        """Join, and hand deliveries to the running loop."""
        if self._listens:
            return
        self._loop, self._stopping = asyncio.get_running_loop(), False
        if self._queue is None:
            self._alive, self._room = self._handed.__contains__, None
        else:
            self._alive, self._room = None, self._room_to_iterate
        joining = asyncio.create_task(asyncio.to_thread(self.join))
        try:
            await asyncio.shield(joining)
        except asyncio.CancelledError:
            joining.add_done_callback(self._unwanted)
            raise

    def _unwanted(self, joining: asyncio.Task[None]) -> None:
        if not joining.cancelled():
            joining.exception()
        self.leave(0)

    async def end(self, timeout: Delay | None = LEAVE_TIMEOUT.default) -> bool:  # noqa: ASYNC109 - as of a DTimer
        """Leave when the running handlers have ended, see AsyncDTimer."""
        loop = asyncio.get_running_loop()
        seconds = None if timeout is None else LEAVE_TIMEOUT.check(timeout)
        give_up = None if seconds is None else loop.time() + seconds
        self._stopping = True
        with self._lock:
            if self._listener is not None:
                self._listener.pause()
        self._stop_iterating()
        own = _within.get()
        if own is not None and not own.done():
            # Two handlers that leave do not wait for each other.
            self._leavers.add(own)
        others = self._tasks - self._leavers if loop is self._loop else set()
        if others:
            await asyncio.wait(others, timeout=seconds)
        left = None if give_up is None else max(0.0, give_up - loop.time())
        return await asyncio.to_thread(self.leave, left) and all(task.done() for task in others)

    async def deliveries(self) -> AsyncGenerator[Delivery, None]:
        """Join, and go through the deliveries until somebody leaves; leave at the end, see AsyncDTimer."""
        if self._event_handler is not no_handler:
            raise HandlerError("the timer has an event handler: it can't be iterated over too")
        if self._queue is not None:
            raise HandlerError("the timer is iterated over already")
        queue = self._queue = asyncio.Queue()
        self._event_handler = _iterated
        try:
            await self.start()
            while (found := await queue.get()) is not None:
                listener, delivery = found
                listener.look()
                if not self._given_back(listener, delivery):
                    yield delivery
        finally:
            try:
                await self.end()
            finally:
                self._event_handler, self._queue = no_handler, None

    def _stop_iterating(self) -> None:
        """Give back what the iteration has not come to, and end it."""
        queue = self._queue
        if queue is None:
            return
        while not queue.empty():
            found = queue.get_nowait()
            if found is not None:
                self._given_back(*found)
        queue.put_nowait(None)

    async def shut(self) -> None:
        """Leave, and close the connections."""
        await self.end()
        await asyncio.to_thread(self.close)
        for server in self.shards.servers.known():
            await links_of(server).close()

    def forked(self) -> None:
        """Forget the loop's tasks in the child of a fork."""
        super().forked()
        self._handed, self._tasks, self._queue = set(), set(), None

    # --- in the listener's thread

    def _handle(self, listener: Listener, deliveries: list[Delivery]) -> None:
        self._handed.update(deliveries)
        loop: Any = self._loop
        try:
            loop.call_soon_threadsafe(self._take, listener, deliveries)
        except RuntimeError:
            logger.error(  # noqa: TRY400 - where it happened says nothing
                "dtimer: the event loop of an AsyncDTimer was closed before the timer left; the timer leaves now, and "
                "its events are left to others"
            )
            for delivery in deliveries:
                listener.release(delivery, counted=False, reason="its event loop is closed")
            self.leave(0)

    def _report(self, exc: BaseException) -> None:
        loop: Any = self._loop
        try:
            loop.call_soon_threadsafe(self._begin, self._reported(exc))
        except RuntimeError:
            logger.exception("dtimer: the timer failed, and its event loop is closed", exc_info=exc)

    def _room_to_iterate(self) -> Room:
        return Room(0 if self._queue is None else max(0, self._max_events - self._queue.qsize()))

    # --- in the loop

    def _take(self, listener: Listener, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            if self._given_back(listener, delivery):
                continue
            if self._queue is not None:
                self._queue.put_nowait((listener, delivery))
            else:
                self._begin(self._work(listener, delivery))

    def _given_back(self, listener: Listener, delivery: Delivery) -> bool:
        if self._stopping and delivery.token:
            listener.release(delivery, counted=False, reason="its listener left")
        elif listener.has_lapsed(delivery):
            listener.release(delivery, counted=False, reason="its lease lapsed before it was handed over")
        else:
            return False
        self._handed.discard(delivery)
        return True

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._leavers.discard)

    async def _work(self, listener: Listener, delivery: Delivery) -> None:
        _within.set(asyncio.current_task())
        handler = cast("Callable[[Delivery], Awaitable[object]]", self._event_handler)
        try:
            await handler(delivery)
        except Exception as exc:  # noqa: BLE001 - whatever it raises is the error handler's
            reason = f"the handler failed: {shown(exc)}"
            listener.release(delivery, backoff_ms=BACKOFF_MS, reason=reason)
            await self._reported(exc)
        except BaseException:
            listener.release(delivery, backoff_ms=BACKOFF_MS, reason="the handler was cancelled")
            raise
        else:
            await self._confirm_handled(listener, delivery)
        finally:
            self._handed.discard(delivery)

    async def _confirm_handled(self, listener: Listener, delivery: Delivery) -> None:
        # With the lock, the listener is not told to stop before it is told this.
        with self._lock:
            if self._listener is listener:
                listener.confirm(delivery)
                return
        try:
            await taken(self.confirm(delivery))
        except Exception as exc:  # noqa: BLE001 - Redis' errors are the error handler's
            await self._reported(exc)

    async def _reported(self, exc: BaseException) -> None:
        handler = cast("Callable[[BaseException], Awaitable[object]] | None", self._error_handler)
        if handler is None:
            super()._report(exc)
            return
        try:
            await handler(exc)
        except Exception:
            logger.exception("dtimer: the timer's error handler failed")


async def _iterated(_: Delivery) -> None:
    """Stand for the handler of a timer that is iterated over."""
