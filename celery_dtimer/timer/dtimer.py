"""The timer for use without Celery: post, listen, confirm."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Self

import redis
from redis.exceptions import RedisError

from celery_dtimer.errors import (
    EventExistsError,
    InvalidEventError,
)
from celery_dtimer.timer.cluster import Cluster
from celery_dtimer.timer.connect import connect
from celery_dtimer.timer.events import (
    Cancellation,
    Counts,
    Delivery,
    EventInfo,
    NewEvent,
    OnConflict,
    Upcoming,
    check_id,
    check_max_redeliveries,
    check_queue,
)
from celery_dtimer.timer.health import EvictionCheck, check_eviction, check_mode
from celery_dtimer.timer.listener import Listener
from celery_dtimer.timer.posts import Post, check_conflict, check_max_wait, new_event, store_many
from celery_dtimer.timer.replication import WAIT_TIMEOUT, Replication
from celery_dtimer.timer.scripts import Call
from celery_dtimer.timer.servers import Server
from celery_dtimer.timer.shard_listener import MAX_POLL_INTERVAL, MIN_POLL_INTERVAL, POLL_INTERVAL
from celery_dtimer.timer.shards import MAX_SHARDS, Shards
from celery_dtimer.timer.times import Delay, delay_to_ms, eta_to_ms, ms_to_datetime, span_to_seconds

logger = logging.getLogger(__name__)

#: Bytes of a payload unless set otherwise: a Redis value may be larger, but a timer's should not.
MAX_PAYLOAD = 512 * 1024

#: Redeliveries before an event is parked, unless set otherwise.
MAX_REDELIVERIES = 20

#: Shortest lease, in seconds: below that, renewing would take more round trips than running.
MIN_CONFIRM_TIMEOUT = 0.1

#: Most events in a page of ``upcoming``: the script reads them all at once.
MAX_PAGE = 10_000

EventHandler = Callable[[Delivery], None]
ErrorHandler = Callable[[BaseException], None]


class DTimer:
    """A distributed timer: events in Redis, delivered at least once, to one of the listeners, never early.

    Args:
        url_or_client: A URL as ``dtimer_url`` takes it, or a redis-py client of one server (used as it is;
            ``decode_responses`` must be off), or the servers of another timer.
        namespace: Name of one independent set of events.
        max_events: At most so many events are held at a time by this listener.
        confirm_timeout: Seconds, or a timedelta, after which an event that was not confirmed is delivered again.
        poll_interval: Seconds, or a timedelta, from 0.1 to 60, after which this listener looks if nobody wakes it: so
            late is the next event if the listener dies that was to wake for it.
        shards: Over so many slots of a Redis Cluster the events are spread; fixed by the namespace's first use.
        queues: Names of the queues that this listener claims for; the first one is the default for posts.
        max_redeliveries: Default of ``post``.
        max_payload: Largest payload, in bytes.
        name: What ``peek`` shows as the holder of an event; by default pid@host.
        wait_replicas: A post returns when so many replicas of the Redis have the event.
        wait_timeout: Seconds, or a timedelta, that it waits for them, 4 s at most.
        eviction_check: What ``join`` does about a Redis that may evict the timer's keys: ``"ignore"``, ``"warn"`` (in
            the log) or ``"error"``.

    Raises:
        SettingsError: The URL is none that redis-py understands, or the namespace is no plain name.
        InvalidEventError: Another argument is out of its range.
    """

    def __init__(
        self,
        url_or_client: str | redis.Redis | Server | Cluster,
        namespace: str = "dt",
        max_events: int = 8,
        confirm_timeout: Delay = 10.0,
        *,
        poll_interval: Delay = POLL_INTERVAL,
        shards: int = 1,
        queues: Sequence[str] = ("default",),
        max_redeliveries: int = MAX_REDELIVERIES,
        max_payload: int = MAX_PAYLOAD,
        name: str | None = None,
        wait_replicas: int = 0,
        wait_timeout: Delay = WAIT_TIMEOUT,
        eviction_check: EvictionCheck = "warn",
    ) -> None:
        _check_whole("max_events", max_events, 1)
        _check_whole("max_payload", max_payload, 0)
        _check_whole("shards", shards, 1, MAX_SHARDS)
        if isinstance(queues, str) or not queues:
            raise InvalidEventError(f"queues is one or more names, not {queues!r}", argument="queues", value=queues)
        self._own_servers = isinstance(url_or_client, str)
        servers = _servers(url_or_client)
        self.namespace = namespace
        self.confirm_timeout = span_to_seconds(confirm_timeout, "confirm_timeout", MIN_CONFIRM_TIMEOUT)
        self.poll_interval = span_to_seconds(poll_interval, "poll_interval", MIN_POLL_INTERVAL, MAX_POLL_INTERVAL)
        self.queues = tuple(check_queue(queue) for queue in queues)
        self.max_redeliveries = check_max_redeliveries(max_redeliveries)
        self.max_payload = max_payload
        self.name = name
        self.eviction_check = check_mode(eviction_check)
        self.shards = Shards(servers, namespace, shards, Replication.checked(wait_replicas, wait_timeout))
        self._first_max_events = self._max_events = max_events
        self._listener: Listener | None = None
        self._event_handler: EventHandler | None = None
        self._error_handler: ErrorHandler | None = None

    # --- listening

    def on_event(self, handler: EventHandler) -> EventHandler:
        """Set what is called with each delivery, in the listener's thread; usable as a decorator.

        A handler that takes long keeps the listener from claiming, not from being redelivered: hand the work
        to a pool of your own. If it raises, the event is released, and the error handler is called.
        """
        self._event_handler = handler
        return handler

    def on_error(self, handler: ErrorHandler) -> ErrorHandler:
        """Set what is called with the errors of the event handler and of Redis; usable as a decorator.

        Redis' errors are reported once when they begin; the listener goes on trying. Without a handler they
        are logged.
        """
        self._error_handler = handler
        return handler

    def join(self) -> None:
        """Start to listen. Does nothing if it listens already.

        Raises:
            EvictionPolicyError: Redis may evict the timer's keys, and ``eviction_check`` is ``"error"``.
            SettingsError: The namespace has another number of shards.
        """
        if self._listener is not None:
            return
        with suppress(RedisError, OSError):
            self.shards.settle()
        check_eviction(self.shards.servers, self.eviction_check)
        listener = Listener(
            self.shards,
            queues=lambda: self.queues,
            deliver=lambda deliveries: self._handle(listener, deliveries),
            max_events=self._max_events,
            confirm_timeout=self.confirm_timeout,
            poll_interval=self.poll_interval,
            on_error=self._report,
            name=self.name,
        )
        self._listener = listener
        listener.start()

    def leave(self, timeout: float | None = 10.0) -> None:
        """Stop to listen, within ``timeout`` seconds. Does nothing if it does not listen.

        What the handler was given stays its own: it may be confirmed later, until its lease lapses.
        """
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop(timeout)

    def close(self) -> None:
        """Leave, and close the connections, if they were made here from a URL."""
        self.leave()
        if self._own_servers:
            self.shards.servers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def max_events(self) -> int:
        """At most so many events are held at a time. A value below 1 restores the one it was built with."""
        return self._max_events

    @max_events.setter
    def max_events(self, count: int) -> None:
        self._max_events = count if count >= 1 else self._first_max_events
        if self._listener is not None:
            self._listener.max_events = self._max_events
            self._listener.wake()

    def _handle(self, listener: Listener, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            if self._listener is not listener and delivery.token:
                listener.release(delivery, counted=False, reason="its listener left")
                continue
            try:
                if self._event_handler is None:
                    raise RuntimeError("no event handler: set one with on_event() before join()")
                self._event_handler(delivery)
            except BaseException as exc:  # noqa: BLE001 - even a SystemExit must not end the listener's thread
                listener.release(delivery, backoff_ms=1000, reason=f"the handler failed: {exc!r}")
                self._report(exc)

    def _report(self, exc: BaseException) -> None:
        if self._error_handler is None:
            logger.error("the timer failed: %r", exc, exc_info=exc)
            return
        try:
            self._error_handler(exc)
        except Exception:
            logger.exception("the timer's error handler failed")

    # --- posting

    def post(
        self,
        payload: bytes | str,
        delay: Delay | None = None,
        *,
        eta: datetime | None = None,
        id: str | None = None,  # noqa: A002 - the word of the original
        queue: str | None = None,
        max_redeliveries: int | None = None,
        on_conflict: OnConflict = "error",
        max_wait: Delay | None = None,
    ) -> str:
        """Store an event; needs no ``join``.

        Args:
            payload: What is delivered, bytes or text (as UTF-8).
            delay: Seconds or a timedelta from now, by the server's clock; negative means now.
            eta: Or the instant, an aware datetime.
            id: Its id, 1 to 200 bytes; by default a new UUID.
            queue: Which listeners may claim it; by default this timer's first.
            max_redeliveries: So often it may be delivered again before it is parked. 0: delivered once, no
                confirm awaited.
            on_conflict: What is done when an event of this id is pending: ``"error"``; ``"keep"`` it as it is;
                ``"replace"`` its payload and time; ``"postpone"`` its time only. An event that is being
                delivered is no conflict: the new one is stored beside it.
            max_wait: With ``"postpone"``: never later than so long after the first post (a debounce's bound).

        Returns:
            The id.

        Raises:
            InvalidEventError: An argument is not what the timer can store.
            EventExistsError: An event of this id is pending, and on_conflict is "error".
            TimerFullError: Redis is at its maxmemory.
            TimerUnavailableError: Redis did not answer; the event may or may not be stored.
            NotReplicatedError: The event is stored, and fewer than ``wait_replicas`` replicas have it.
            SettingsError: The namespace has another number of shards; nothing is stored.
        """
        event = self._new_event(Post(payload, delay, eta, id, queue, max_redeliveries))
        due_ms = self.shards.post(
            [event], conflict=check_conflict(on_conflict), max_wait_ms=check_max_wait(max_wait, on_conflict)
        )[0]
        if due_ms < 0:
            raise EventExistsError(
                f"event {event.id!r} is pending already, due at {ms_to_datetime(-due_ms).isoformat()}: say what that "
                "means with on_conflict='keep', 'replace' or 'postpone'",
                event_id=event.id,
                due_ms=-due_ms,
            )
        return event.id

    def post_many(self, posts: Iterable[Post], *, on_conflict: OnConflict = "error") -> list[str]:
        """Store many events, in batches of some hundred a round trip; all are checked before the first is sent.

        Returns:
            Their ids, in order.

        Raises:
            InvalidEventError: An argument of one of them is not what the timer can store; nothing is stored.
            PostManyError: Not all are stored; it names those that are, and those that may be.
            NotReplicatedError: All are stored, and fewer than ``wait_replicas`` replicas have those that it names.
        """
        conflict = check_conflict(on_conflict)
        return store_many(self.shards, [self._new_event(post) for post in posts], conflict)

    def _new_event(self, post: Post) -> NewEvent:
        return new_event(
            post, queue=self.queues[0], max_redeliveries=self.max_redeliveries, max_payload=self.max_payload
        )

    # --- deliveries

    def confirm(self, delivery: Delivery) -> bool:
        """End a delivered event. False, and nothing changed, if its lease is not this delivery's any more."""
        return self._settle(delivery, self.shards[delivery.shard].confirm(delivery.queue, [delivery]))

    def confirm_soon(self, delivery: Delivery) -> None:
        """End a delivered event with the listener's next round trip, without an answer: far cheaper in a flood.

        Raises:
            RuntimeError: The timer does not listen.
        """
        if self._listener is None:
            raise RuntimeError("confirm_soon() needs a timer that has joined; use confirm()")
        self._listener.confirm(delivery)

    def release(self, delivery: Delivery, delay: Delay = 0) -> bool:
        """Give a delivered event back, to be delivered again after ``delay``. False if the lease is gone."""
        backoff_ms = delay_to_ms(delay)
        store = self.shards[delivery.shard]
        call = store.release(delivery.queue, [delivery], backoff_ms=backoff_ms, counted=True, reason="released")
        return self._settle(delivery, call)

    def renew(self, delivery: Delivery) -> bool:
        """Keep a delivered event for another ``confirm_timeout``. False if the lease is gone."""
        lease_ms = round(self.confirm_timeout * 1000)
        store = self.shards[delivery.shard]
        reply = store.ask(store.renew(delivery.queue, lease_ms, [delivery]))
        if reply[0] and self._listener is not None:
            self._listener.renewed(delivery)
        return bool(reply[0])

    def _settle(self, delivery: Delivery, call: Call) -> bool:
        if not delivery.token:
            return False
        reply = self.shards[delivery.shard].ask(call)
        if self._listener is not None:
            self._listener.forget(delivery)
        return bool(reply[0])

    # --- asking and changing

    def peek(self, id: str) -> EventInfo | None:  # noqa: A002 - the word of the original
        """Say where an event is: pending, leased or parked, due when, and held by whom; None if it is unknown."""
        return self.shards.peek(check_id(id))

    def cancel(self, id: str) -> Cancellation:  # noqa: A002 - the word of the original
        """End an event that waits. The answer is truthy only if it will not be delivered."""
        return self.shards.cancel(check_id(id))

    def change_delay(self, id: str, delay: Delay) -> bool:  # noqa: A002 - the word of the original
        """Let an event that waits be due ``delay`` from now. False, and nothing changed, if it does not wait."""
        return self.shards.change(check_id(id), "in", delay_to_ms(delay)) is not None

    def change_eta(self, id: str, eta: datetime) -> bool:  # noqa: A002 - the word of the original
        """Let an event that waits be due at ``eta``. False, and nothing changed, if it does not wait."""
        return self.shards.change(check_id(id), "at", eta_to_ms(eta)) is not None

    def upcoming(
        self,
        offset: Delay | None = None,
        duration: Delay | None = None,
        limit: int = 100,
        *,
        skip: int = 0,
        payloads: bool = False,
    ) -> list[Upcoming]:
        """Return a page of the pending events, soonest first.

        Args:
            offset: From so long after now; None: from the first, overdue ones included.
            duration: For so long after that (after now, without an offset); None: without an end.
            limit: At most so many, 1 to 10,000.
            skip: Leave out so many, for the next page.
            payloads: Whether to read the payloads too.
        """
        _check_whole("limit", limit, 1, MAX_PAGE)
        _check_whole("skip", skip, 0)
        return self.shards.upcoming(
            offset_ms=_span(offset, "offset"),
            duration_ms=_span(duration, "duration"),
            skip=skip,
            limit=limit,
            payloads=payloads,
        )

    def count(self, offset: Delay | None = None, duration: Delay | None = None) -> Counts:
        """Count the events, reading none: pending (between the bounds of ``upcoming``), leased and parked."""
        return self.shards.count(offset_ms=_span(offset, "offset"), duration_ms=_span(duration, "duration"))

    def replay(self, id: str, delay: Delay = 0) -> bool:  # noqa: A002 - the word of the original
        """Make a parked event pending again. False, and nothing changed, if it is not parked."""
        return self.shards.replay(check_id(id), delay_to_ms(delay)) >= 0


def _servers(given: object) -> Server | Cluster:
    if isinstance(given, str):
        return connect(given)
    if isinstance(given, Server | Cluster):
        return given
    if not isinstance(given, redis.Redis):
        raise InvalidEventError(
            f"give a URL, or a redis-py client of one server, not {type(given).__name__}; a cluster has a "
            "redis+cluster:// URL",
            argument="url_or_client",
            value=given,
        )
    if given.get_encoder().decode_responses:
        raise InvalidEventError(
            "the client decodes responses, and payloads are bytes: give one without decode_responses",
            argument="url_or_client",
            value=given,
        )
    return Server(given)


def _span(delay: Delay | None, argument: str) -> int | None:
    return None if delay is None else delay_to_ms(delay, argument)


def _check_whole(argument: str, value: object, least: int, most: int | None = None) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        upwards = "or more" if most is None else f"to {most}"
        raise InvalidEventError(f"{argument} is {least} {upwards}, not {value!r}", argument=argument, value=value)
