"""The timer for use without Celery: post, listen, confirm."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

import redis

from celery_dtimer.errors import EventExistsError, NotListeningError
from celery_dtimer.timer import options
from celery_dtimer.timer.catching_up import own_limit
from celery_dtimer.timer.checks import (
    check_conflict,
    check_delivery,
    check_max_wait,
    check_name,
    check_queues,
)
from celery_dtimer.timer.connecting.clients import place_of, servers_of
from celery_dtimer.timer.connecting.steps import Steps
from celery_dtimer.timer.events import Damaged, Delivery, EventInfo, NewEvent, OnConflict, Upcoming
from celery_dtimer.timer.posts import Post, check_posts, new_event
from celery_dtimer.timer.steering import Steering
from celery_dtimer.timer.storing.batches import store_many_steps
from celery_dtimer.timer.storing.namespace import Shards
from celery_dtimer.timer.storing.replicas import Replication
from celery_dtimer.timer.storing.scripts import Call
from celery_dtimer.timer.times import Delay, delay_to_ms


class DTimer(Steering):
    """A distributed timer: events in Redis, delivered at least once, to one of the listeners, never early.

    Args:
        url_or_client: A URL as ``dtimer_url`` takes it, or a redis-py client of one server, with
            ``decode_responses`` off. Its options are taken, but for retries: nothing is sent twice.
        namespace: Name of one independent set of events.
        max_events: Most events held at a time by this listener.
        confirm_timeout: Seconds, or a timedelta, after which an event that was not confirmed is delivered again.
        poll_interval: Seconds, or a timedelta, from 0.1 to 60, between two polls of this listener: the longest extra
            delay of an event if the waking listener dies. More than eight listeners of a queue poll less often, at
            least every 4 s: the longest extra delay if most of them die at once.
        shards: Slots of a Redis Cluster that hold the events; the namespace's first use fixes the number.
        queues: Names of the queues that this listener claims for; the first one is the default for posts.
        max_redeliveries: Default of ``post``.
        max_payload: Largest payload, in bytes.
        name: The holder of an event, as ``peek`` shows it; by default pid@host.
        wait_replicas: Replicas of the Redis that must have an event before its post returns.
        wait_timeout: Longest wait for them, in seconds or as a timedelta, 0.001 to 4 s.
        eviction_check: Reaction of ``join`` to a Redis that may evict the timer's keys: ``"ignore"``, ``"warn"`` (in
            the log) or ``"error"``.
        catch_up_rate: Events a second that all listeners together claim of what is long overdue, 0.001 to 1,000,000;
            None: as fast as they can. A limit that is stored overrides it, see ``limit_catch_up``.
        catch_up_after: Seconds, or a timedelta, from 1 s to 365 days; overdue by more is long overdue.

    Raises:
        SettingsError: The URL or the namespace is wrong.
        InvalidEventError: Another argument is out of its range.
    """

    def __init__(
        self,
        url_or_client: str | redis.Redis,
        namespace: str = options.NAMESPACE.default,
        max_events: int = 8,
        confirm_timeout: Delay = options.CONFIRM_TIMEOUT.default,
        *,
        poll_interval: Delay = options.POLL_INTERVAL.default,
        shards: int = options.SHARDS.default,
        queues: Sequence[str] = ("default",),
        max_redeliveries: int = options.MAX_REDELIVERIES.default,
        max_payload: int = options.MAX_PAYLOAD.default,
        name: str | None = None,
        wait_replicas: int = options.WAIT_REPLICAS.default,
        wait_timeout: Delay = options.WAIT_TIMEOUT.default,
        eviction_check: options.EvictionCheck = options.EVICTION_CHECK.default,
        catch_up_rate: float | None = options.CATCH_UP_RATE.default,
        catch_up_after: Delay = options.CATCH_UP_AFTER.default,
    ) -> None:
        replication = Replication(options.WAIT_REPLICAS.check(wait_replicas), options.WAIT_TIMEOUT.check(wait_timeout))
        super().__init__(
            Shards(servers_of(url_or_client), namespace, options.SHARDS.check(shards), replication),
            queues=check_queues(queues),
            max_events=options.MAX_EVENTS.check(max_events),
            confirm_timeout=options.CONFIRM_TIMEOUT.check(confirm_timeout),
            poll_interval=options.POLL_INTERVAL.check(poll_interval),
            name=None if name is None else check_name(name),
            eviction_check=options.EVICTION_CHECK.check(eviction_check),
            limit=own_limit(catch_up_rate, catch_up_after),
        )
        self.max_redeliveries: int = options.MAX_REDELIVERIES.check(max_redeliveries)
        self.max_payload: int = options.MAX_PAYLOAD.check(max_payload)
        self._own_servers = isinstance(url_or_client, str)
        self._place = place_of(url_or_client)

    def close(self) -> None:
        """Leave, and close the connections, if they were made here from a URL.

        Later calls work, on new connections.
        """
        self.leave()
        if self._own_servers:
            # Those that other threads have in use are closed when they are done with them.
            self.shards.servers.disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        listener = self._listener
        listens = f"listens as {listener.name}" if listener is not None else "does not listen"
        return f"<DTimer {self._place}, namespace {self.namespace!r}, {listens}>"

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
        kind: str | None = None,
        tags: Collection[str] | None = None,
    ) -> str:
        """Store an event; needs no ``join``.

        Args:
            payload: Bytes or text (as UTF-8), delivered as it is.
            delay: Seconds or a timedelta from now, by the server's clock; negative means now.
            eta: Or the instant, an aware datetime.
            id: Its id, 1 to 200 bytes; by default a new UUID.
            queue: Which listeners may claim it; by default this timer's first.
            max_redeliveries: Redeliveries before it is parked. 0: delivered once, without a confirm.
            on_conflict: The effect on a pending event of this id: ``"error"``; ``"keep"`` it as it is;
                ``"replace"`` its payload and time; ``"postpone"`` its time only. An event that is being
                delivered is no conflict: the new one is stored beside it.
            max_wait: With ``"postpone"``: longest time from the first post to the due time (a debounce's bound).
            kind: A name that it shares with others, for ``hold``; 1 to 255 bytes.
            tags: Up to 8 texts of 1 to 128 bytes, by which it is found among all others.

        Returns:
            The id.

        Raises:
            InvalidEventError: An argument is wrong.
            EventExistsError: An event of this id is pending, and on_conflict is "error".
            TimerFullError: Redis is at its maxmemory.
            TimerUnavailableError: Redis did not answer; the event may or may not be stored.
            NotReplicatedError: The event is stored, and fewer than ``wait_replicas`` replicas have it.
            SettingsError: The namespace has another number of shards; nothing is stored.
        """
        post = Post(payload, delay, eta, id, queue, max_redeliveries, kind, tags)
        return self._run(self._post_steps(post, on_conflict, max_wait))

    def post_many(self, posts: Iterable[Post], *, on_conflict: OnConflict = "error") -> list[str]:
        """Store many events, in batches of some hundred a round trip; all are checked before the first is sent.

        Returns:
            Their ids, in order.

        Raises:
            InvalidEventError: An argument of one of them is wrong; nothing is stored.
            PostManyError: Not all are stored; it names those that are, and those that may be.
            NotReplicatedError: All are stored, and fewer than ``wait_replicas`` replicas have those that it names.
        """
        conflict = check_conflict(on_conflict)
        events = [self._new_event(post) for post in check_posts(posts)]
        return self._run(store_many_steps(self.shards, events, conflict))

    def _post_steps(self, post: Post, on_conflict: OnConflict, max_wait: Delay | None) -> Steps[str]:
        event = self._new_event(post)
        due_ms = yield from self.shards.of(event.id).post_steps(
            [event], conflict=check_conflict(on_conflict), max_wait_ms=check_max_wait(max_wait, on_conflict)
        )
        if due_ms[0] < 0:
            raise EventExistsError(event_id=event.id, due_ms=-due_ms[0])
        return event.id

    def _new_event(self, post: Post) -> NewEvent:
        return new_event(
            post, queue=self.queues[0], max_redeliveries=self.max_redeliveries, max_payload=self.max_payload
        )

    # --- deliveries

    def confirm(self, delivery: Delivery) -> bool:
        """End a delivered event. False, and nothing changed, if its lease is not this delivery's any more."""
        check_delivery(delivery, len(self.shards))
        return self._run(self._decide(delivery, self.shards[delivery.shard].confirm(delivery.queue, [delivery])))

    def confirm_soon(self, delivery: Delivery) -> None:
        """End a delivered event with the listener's next round trip, without an answer: far cheaper in a flood.

        Raises:
            NotListeningError: The timer does not listen.
        """
        check_delivery(delivery, len(self.shards))
        # With the lock, the listener is not told to stop before it is told this.
        with self._lock:
            if self._listener is None:
                raise NotListeningError("confirm_soon() needs a timer that has joined; use confirm()")
            self._listener.confirm(delivery)

    def release(self, delivery: Delivery, delay: Delay = 0) -> bool:
        """Give a delivered event back, to be delivered again after ``delay``. False if the lease is gone."""
        check_delivery(delivery, len(self.shards))
        backoff_ms = delay_to_ms(delay)
        store = self.shards[delivery.shard]
        call = store.release(delivery.queue, [delivery], backoff_ms=backoff_ms, counted=True, reason="released")
        return self._run(self._decide(delivery, call))

    def renew(self, delivery: Delivery) -> bool:
        """Keep a delivered event for another ``confirm_timeout``. False if the lease is gone."""
        check_delivery(delivery, len(self.shards))
        lease_ms = round(self.confirm_timeout * 1000)
        call = self.shards[delivery.shard].renew(delivery.queue, lease_ms, [delivery])
        return self._run(self._decide(delivery, call, renewed=True))

    def _decide(self, delivery: Delivery, call: Call, *, renewed: bool = False) -> Steps[bool]:
        if not delivery.token:
            return False
        reply = yield from self.shards[delivery.shard].ask_steps(call)
        done = bool(reply[0])
        listener = self._listener
        if listener is not None and not renewed:
            listener.forget(delivery)
        elif listener is not None and done:
            listener.renewed(delivery)
        return done

    # --- what can't be read

    def damaged(self) -> list[Damaged]:
        """List the unreadable records, which were put aside so that they stop nothing else."""
        return self.shards.damaged()

    def drop_damaged(self, damaged: Damaged) -> bool:
        """Delete one of them for good. False if it is not there."""
        return self.shards[damaged.shard].drop_damaged(damaged)

    # --- an event as Redis has it

    def _read_info(self, info: EventInfo) -> EventInfo:
        return info

    def _read_upcoming(self, event: Upcoming, *, payload: bool) -> Upcoming:
        del payload
        return event
