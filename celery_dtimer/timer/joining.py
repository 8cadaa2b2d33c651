"""Listening with a DTimer: it joins with a handler, is handed deliveries, and leaves."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NoReturn, TypeVar

from redis.exceptions import RedisError

from celery_dtimer.errors import HandlerError
from celery_dtimer.timer.connecting.eviction import check_eviction
from celery_dtimer.timer.events import Delivery, EventInfo, Upcoming
from celery_dtimer.timer.forks import tell_of_forks
from celery_dtimer.timer.handlers import call, check_handler
from celery_dtimer.timer.listening.config import ListenerConfig, Room
from celery_dtimer.timer.listening.listener import Listener
from celery_dtimer.timer.options import MAX_EVENTS, EvictionCheck, seconds
from celery_dtimer.timer.shown import shown
from celery_dtimer.timer.stored import StoredEvents
from celery_dtimer.timer.storing.namespace import Shards
from celery_dtimer.timer.times import Delay

logger = logging.getLogger(__name__)

#: Wait for a listener that leaves.
LEAVE_TIMEOUT = seconds("timeout", 10.0, most=86_400.0)

#: Milliseconds after which an event whose handler failed is delivered again.
BACKOFF_MS = 1000

EventHandler = Callable[[Delivery], object]
ErrorHandler = Callable[[BaseException], object]

#: What a handler returns: a function that is decorated keeps that.
Returned = TypeVar("Returned")


class Joining(StoredEvents[EventInfo, Upcoming]):
    """The half of a DTimer that listens, see there for the arguments."""

    #: Whether a delivery is still in work, so that its lease is renewed; None: no lease is.
    _alive: Callable[[Delivery], bool] | None = None

    #: The room for more deliveries; None: ``max_events`` alone counts.
    _room: Callable[[], Room] | None = None

    def __init__(
        self,
        shards: Shards,
        *,
        queues: tuple[str, ...],
        max_events: int,
        confirm_timeout: float,
        poll_interval: float,
        name: str | None,
        eviction_check: EvictionCheck,
        limit: tuple[int, int],
    ) -> None:
        super().__init__(shards)
        self.queues: Sequence[str] = queues
        self.confirm_timeout = confirm_timeout
        self.poll_interval = poll_interval
        self.name = name
        self.eviction_check = eviction_check
        self._limit = limit
        self._first_max_events = self._max_events = max_events
        # Reentrant, since a signal's handler may leave amid anything.
        self._lock = threading.RLock()
        self._listener: Listener | None = None
        self._leaving: list[Listener] = []  # told to stop, and not known to have ended
        tell_of_forks(self)
        self._event_handler: EventHandler = no_handler
        self._error_handler: ErrorHandler | None = None

    def on_event(self, handler: Callable[[Delivery], Returned]) -> Callable[[Delivery], Returned]:
        """Set the function that gets each delivery, in the listener's thread; usable as a decorator.

        A slow handler stops the listener from claiming, and its events are redelivered: hand the work to a pool of
        your own. If it raises, the event is released, and the error handler is called.

        Raises:
            HandlerError: It can't work: it can't be called with one argument, or it is async.
        """
        check_handler(handler, "on_event()", "the delivery")
        self._event_handler = handler
        return handler

    def on_error(self, handler: Callable[[BaseException], Returned]) -> Callable[[BaseException], Returned]:
        """Set the function that gets the errors of the event handler and of Redis; usable as a decorator.

        Redis' errors are reported once when they begin; the listener goes on trying. Without a handler they
        are logged, and so are errors of the error handler.

        Raises:
            HandlerError: It can't work.
        """
        check_handler(handler, "on_error()", "the exception")
        self._error_handler = handler
        return handler

    def join(self) -> None:
        """Start to listen. Does nothing if it listens already.

        A forked process does not inherit the listener: join there anew.

        Raises:
            HandlerError: No event handler is set.
            EvictionPolicyError: Redis may evict the timer's keys, and ``eviction_check`` is ``"error"``.
            SettingsError: The namespace has another number of shards.
        """
        if self._event_handler is no_handler:
            no_handler()
        if self._listens:
            return
        with suppress(RedisError, OSError):
            self.shards[0].check_layout()
        check_eviction(self.shards.servers, self.eviction_check)
        with self._lock:
            if self._listens:
                return
            config = ListenerConfig(
                queues=lambda: self.queues,
                deliver=lambda deliveries: self._handle(listener, deliveries),
                max_events=self._max_events,
                confirm_timeout=self.confirm_timeout,
                poll_interval=self.poll_interval,
                limit=self._limit,
                on_error=self._report,
                alive=self._alive,
                room=self._room,
            )
            listener = Listener(self.shards, config if self.name is None else replace(config, name=self.name))
            # Set before it starts, since a signal's handler may interrupt this and leave.
            self._listener = listener
            try:
                listener.start()
            except BaseException:
                self._listener = None
                raise

    def leave(self, timeout: Delay | None = LEAVE_TIMEOUT.default) -> bool:
        """Stop to listen. Does nothing if it does not listen.

        Deliveries that the handler has may still be confirmed, until their leases lapse.

        Args:
            timeout: Longest wait, in seconds or as a timedelta, for the last confirms and for the handler to return;
                None: without an end.

        Returns:
            Whether the listener has ended. If not, it claims nothing more, and ends later; a call from within a
            handler always returns before that.
        """
        give_up = None if timeout is None else time.monotonic() + LEAVE_TIMEOUT.check(timeout)
        with self._lock:
            if self._listener is not None:
                self._leaving.append(self._listener)
                self._listener = None
            # Those too that another thread waits for, or that were not waited for long enough.
            leaving = list(self._leaving)
        for listener in leaving:
            if listener.stop(None if give_up is None else max(0.0, give_up - time.monotonic())):
                with self._lock, suppress(ValueError):
                    self._leaving.remove(listener)
        return not self._leaving

    @property
    def max_events(self) -> int:
        """Most events held at a time. A value below 1 restores the first one."""
        return self._max_events

    @max_events.setter
    def max_events(self, count: int) -> None:
        if type(count) is bool or not isinstance(count, int):
            raise MAX_EVENTS.refusal(count)
        self._max_events = count if count >= 1 else self._first_max_events
        listener = self._listener
        if listener is not None:
            listener.max_events = self._max_events
            listener.wake()

    @property
    def _listens(self) -> bool:
        return self._listener is not None and not self._listener.ended

    def forked(self) -> None:
        """Forget the listener in the child of a fork, and the lock, which a thread of the parent may hold."""
        self._lock = threading.RLock()
        self._listener = None
        self._leaving = []

    def _handle(self, listener: Listener, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            if listener.told_to_stop and delivery.token:
                listener.release(delivery, counted=False, reason="its listener left")
                continue
            if listener.has_lapsed(delivery):
                # The handler took too long with those before it.
                listener.release(delivery, counted=False, reason="its lease lapsed before it was handed over")
                continue
            try:
                call(self._event_handler, delivery)
            except BaseException as exc:  # noqa: BLE001 - even a SystemExit must not end the listener's thread
                listener.release(delivery, backoff_ms=BACKOFF_MS, reason=f"the handler failed: {shown(exc)}")
                self._report(exc)

    def _report(self, exc: BaseException) -> None:
        if self._error_handler is None:
            logger.error("dtimer: the timer failed: %s", shown(exc), exc_info=exc)
            return
        try:
            call(self._error_handler, exc)
        except BaseException:
            # Logged, since nothing else can be told, and it must not end the listener's thread.
            logger.exception("dtimer: the timer's error handler failed")


def no_handler(_: object = None) -> NoReturn:
    """Stand for the handler that is not set."""
    raise HandlerError("there is no event handler: set one with on_event() before join()")
