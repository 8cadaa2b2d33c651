"""The operations on stored events, each one script call: times in milliseconds, nothing remembered.

Every operation raises ``TimerUnavailableError`` if Redis does not answer.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from redis.exceptions import AuthenticationError, MovedError, NoScriptError, OutOfMemoryError, RedisError

from celery_dtimer.errors import TimerFullError, TimerUnavailableError
from celery_dtimer.timer.connect import TIMEOUT
from celery_dtimer.timer.events import Cancellation, Counts, Delivery, EventInfo, NewEvent, State, Upcoming
from celery_dtimer.timer.keys import Keys
from celery_dtimer.timer.replication import Replication
from celery_dtimer.timer.scripts import NAMES, Call, Script, load
from celery_dtimer.timer.servers import UNAVAILABLE, Command, Server
from celery_dtimer.timer.times import ms_to_datetime

#: Events in one call of a script: long enough to be cheap, short enough not to hold Redis up (about 2 ms).
BATCH = 500

#: Events in one claim, for the same reason (about 7 ms): a claim writes more than a post does.
CLAIM = 256

#: What a post of an event that is there already may mean, and leave it as it is.
MAY_WRITE_NOTHING = ("keep", "again", "postpone")

#: A promise that is overdue by more than this many milliseconds has lapsed, and anybody may take it over.
PROMISE_GRACE_MS = 20


class Claimed(NamedTuple):
    """What a claim came back with.

    Attributes:
        now: The server's clock, in seconds since 1970.
        wait: Seconds until the instant that the listener has promised to wake at; None without a promise.
        deliveries: What was claimed.
        parked: Ids of the events that were parked instead, since they had been redelivered too often.
        polls: So many polls there are in a second of the queue that has the fewest; 0 unless this was one.
    """

    now: float
    wait: float | None
    deliveries: list[Delivery]
    parked: list[str]
    polls: int


class Store:
    """The stored events of one shard.

    Args:
        server: Where everything is sent.
        keys: The shard's key names.
        replication: What a post waits for; by default for no replica.
    """

    def __init__(self, server: Server, keys: Keys, replication: Replication | None = None) -> None:
        self.server = server
        self.keys = keys
        self.replication = replication or Replication()

    # --- sending

    def run(self, call: Call) -> Any:
        """Send one call and return its reply."""
        reply = self._send_all([call], patience=TIMEOUT)[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    def run_all(self, calls: Sequence[Call]) -> list[Any]:
        """Send calls in one round trip, and wait for nothing; a call that was refused has its error for a reply."""
        return self._send_all(calls)

    def load_scripts(self) -> None:
        """Send all scripts ahead, so that no call of run_all has to be made up for after the ones behind it."""
        for reply in self.server.send([("SCRIPT LOAD", load(name).source) for name in NAMES]):
            if isinstance(reply, Exception):
                raise reply

    def _send_all(self, calls: Sequence[Call], patience: float = 0.0) -> list[Any]:
        replies = self.server.send([self._command(call, "EVALSHA") for call in calls], patience=patience)
        for i, reply in enumerate(replies):
            if isinstance(reply, NoScriptError):
                # EVAL keeps the script for the next time.
                replies[i] = self.server.send([self._command(calls[i], "EVAL")], patience=patience)[0]
        return replies

    def _command(self, call: Call, name: Literal["EVALSHA", "EVAL"]) -> Command:
        script: Script = call.script
        keys = (*call.keys, self.keys.absent) if self.server.in_cluster else call.keys
        return (name, script.sha if name == "EVALSHA" else script.source, len(keys), *keys, *call.args)

    # --- posting

    def post(self, events: Sequence[NewEvent], *, conflict: str = "error", max_wait_ms: int = 0) -> list[int]:
        """Store events of one queue in one call.

        Returns:
            One integer an event: the instant at which it is due now; minus that, if it was refused.

        Raises:
            TimerUnavailableError: Each of them may or may not be stored.
            TimerFullError: None of them is stored.
            NotReplicatedError: Those that were not refused are stored, and too few replicas have them.
        """
        queue = events[0].queue
        keys = self.keys
        args: list[Any] = [queue, conflict, max_wait_ms, keys.prefix]
        for event in events:
            args += (event.id, event.clock, event.when_ms, event.max_redeliveries, event.payload)
        names = (keys.events, keys.leased, keys.due(queue), keys.promise, keys.wake(queue))
        call = Call(load("post"), names, tuple(args))
        waits = self.replication.replicas > 0
        with post_named(events):
            reply: list[int]
            if waits:
                touch = keys.wait if conflict in MAY_WRITE_NOTHING else None
                commands = [self._command(call, "EVALSHA"), self._command(call, "EVAL")]
                reply, reached = self.replication.send(self.server, commands, touch)
            else:
                reply = self.run(call)
        if waits:
            self.replication.check([e.id for e, due_ms in zip(events, reply, strict=True) if due_ms >= 0], reached)
        return reply

    # --- delivering (built here, sent by the listener, several in one round trip)

    def claim(
        self,
        queues: Sequence[str],
        *,
        listener: str,
        holder: str,
        nonce: str,
        room: int,
        lease_ms: int,
        ahead_ms: int = 0,
        lapsed_ms: int | None = None,
        is_poll: bool = False,
    ) -> Call:
        """Claim up to ``room`` events (at most CLAIM) of some queues; read the reply with read_claim.

        With ``ahead_ms``, events that are due so soon are taken as well, to be held until they are. If it is negative,
        only events that have been due for so long; no promise is made then, as with no room. Leases that lapse later
        than ``lapsed_ms`` have not lapsed yet, whatever the server's clock says. ``is_poll``: nobody woke it.
        """
        keys = self.keys
        names = [keys.events, keys.leased, keys.parked, keys.promise, keys.polls]
        for queue in queues:
            names += (keys.due(queue), keys.lease(queue), keys.wake(queue))
        args = (listener, holder, nonce, min(room, CLAIM), lease_ms, PROMISE_GRACE_MS, ahead_ms)
        return Call(load("claim"), tuple(names), (*args, _or_empty(lapsed_ms), int(is_poll), *queues))

    def read_claim(self, reply: Any, queues: Sequence[str]) -> Claimed:
        """Read claim's reply."""
        now_us, wait_us, rows, parked, polls = reply
        zero = time.monotonic() - now_us / 1e6  # the server's clock and ours differ by that much
        deliveries = [
            Delivery(
                id=row[0].decode(),
                payload=row[7],
                queue=queues[row[3]],
                due_ms=row[4],
                redeliveries=row[5],
                max_redeliveries=row[6],
                key=row[1].decode(),
                token=row[2].decode(),
                due_monotonic=zero + row[4] / 1000,
                shard=self.keys.shard,
            )
            for row in rows
        ]
        wait = None if wait_us < 0 else wait_us / 1e6
        return Claimed(now_us / 1e6, wait, deliveries, [event_id.decode() for event_id in parked], polls)

    def confirm(self, queue: str, deliveries: Iterable[Delivery]) -> Call:
        """End the leases and events of deliveries of one queue. Reply: 1 or 0 for each."""
        return Call(
            load("confirm"),
            self._queue_keys(queue)[:2] + self._queue_keys(queue)[3:],
            (queue, *_triples(deliveries)),
        )

    def renew(self, queue: str, lease_ms: int, deliveries: Iterable[Delivery]) -> Call:
        """Put off the lapse of leases of one queue. Reply: 1 or 0 for each."""
        pairs = (part for d in deliveries for part in (d.key, d.token))
        return Call(load("renew"), (self.keys.leased, self.keys.lease(queue)), (lease_ms, *pairs))

    def release(
        self,
        queue: str,
        deliveries: Iterable[Delivery],
        *,
        backoff_ms: int = 0,
        counted: bool,
        reason: str = "",
    ) -> Call:
        """Give leases of one queue back. Reply: 1 given back, 2 parked, 0 stale, for each."""
        args = (queue, backoff_ms, int(counted), reason, *_triples(deliveries))
        return Call(load("release"), self._queue_keys(queue), args)

    def park(self, queue: str, deliveries: Iterable[Delivery], reason: str) -> Call:
        """Keep deliveries of one queue aside. Reply: 1 or 0 for each."""
        return Call(load("park"), self._queue_keys(queue), (queue, reason, *_triples(deliveries)))

    def _queue_keys(self, queue: str) -> tuple[str, ...]:
        keys = self.keys
        own = (keys.due(queue), keys.lease(queue), keys.wake(queue))
        return (keys.events, keys.leased, keys.parked, keys.promise, *own)

    # --- asking and changing

    def cancel(self, event_id: str) -> Cancellation:
        """End an event, unless it is in a listener's hands."""
        keys = self.keys
        names = (keys.events, keys.leased, keys.parked, keys.promise)
        reply = self._ask(Call(load("cancel"), names, (keys.prefix, event_id)), event_id)
        return (Cancellation.UNKNOWN, Cancellation.CANCELLED, Cancellation.DELIVERED)[reply]

    def change(self, event_id: str, clock: Literal["in", "at"], when_ms: int) -> int | None:
        """Move an event that waits; returns its new instant, or None if it does not wait."""
        keys = self.keys
        names = (keys.events, keys.leased, keys.promise)
        reply: int = self._ask(Call(load("change"), names, (keys.prefix, event_id, clock, when_ms)), event_id)
        return None if reply < 0 else reply

    def peek(self, event_id: str) -> EventInfo | None:
        """Say where an event is, or None if it is unknown."""
        keys = self.keys
        names = (keys.events, keys.leased, keys.parked)
        reply = self._ask(Call(load("peek"), names, (keys.prefix, event_id)), event_id)
        if not reply:
            return None
        state, queue, due_ms, redeliveries, max_redeliveries, payload, holder, until_ms, reason = reply
        return EventInfo(
            id=event_id,
            state=State(state.decode()),
            queue=queue.decode(),
            due_at=ms_to_datetime(due_ms),
            payload=payload,
            redeliveries=redeliveries,
            max_redeliveries=max_redeliveries,
            holder=holder.decode() or None,
            until=ms_to_datetime(until_ms),
            reason=reason.decode() or None,
        )

    def upcoming(
        self, *, offset_ms: int | None, duration_ms: int | None, skip: int, limit: int, payloads: bool
    ) -> list[Upcoming]:
        """Return a page of the pending events, soonest first."""
        args = (self.keys.prefix, _or_empty(offset_ms), _or_empty(duration_ms), skip, limit, int(payloads))
        rows = self._ask(Call(load("upcoming"), (self.keys.events, self.keys.promise), args))
        return [
            Upcoming(row[0].decode(), row[1].decode(), ms_to_datetime(row[2]), row[3] if payloads else None)
            for row in rows
        ]

    def count(self, *, offset_ms: int | None = None, duration_ms: int | None = None) -> Counts:
        """Count events; the offset and duration bound the pending ones."""
        keys = self.keys
        args = (keys.prefix, _or_empty(offset_ms), _or_empty(duration_ms))
        return Counts(*self._ask(Call(load("count"), (keys.leased, keys.parked, keys.promise), args)))

    def replay(self, event_id: str, delay_ms: int) -> int:
        """Make a parked event pending again: its instant, -1 if nothing is parked, -2 if it is pending anew."""
        keys = self.keys
        names = (keys.events, keys.parked, keys.promise)
        reply: int = self._ask(Call(load("replay"), names, (keys.prefix, event_id, delay_ms)), event_id)
        return reply

    def shards(self, count: int) -> Call:
        """Settle how many shards the namespace has, of which this is the first. Reply: ``count``, unless it was."""
        keys = self.keys
        return Call(load("shards"), (keys.shards, keys.events, keys.parked), (count,))

    def ask(self, call: Call) -> Any:
        """Send one call; like run, but a Redis that does not answer is a TimerUnavailableError."""
        return self._ask(call)

    def _ask(self, call: Call, *event_ids: str) -> Any:
        with unavailable_named(call.script.name, *event_ids):
            return self.run(call)


@contextmanager
def post_named(events: Sequence[NewEvent]) -> Iterator[None]:
    """Turn redis-py's errors into a TimerFullError, or a TimerUnavailableError that names the events of a post."""
    try:
        yield
    except (RedisError, OSError) as exc:
        if _is_full(exc):
            raise TimerFullError(
                "the timer's Redis is at its maxmemory and refused to store the event: raise its maxmemory, or "
                "give the timer a Redis of its own with dtimer_url"
            ) from exc
        ids = [event.id for event in events]
        named = ids[0] if len(ids) == 1 else f"{ids[0]} and {len(ids) - 1} more"
        raise TimerUnavailableError(
            f"the timer's Redis {_failed(exc)}: event {named} may or may not be stored. Posting the "
            "same id again is safe: with on_conflict='keep' or 'replace' it is stored once",
            event_ids=ids,
        ) from exc


@contextmanager
def unavailable_named(operation: str, *event_ids: str) -> Iterator[None]:
    """Turn redis-py's errors into a TimerUnavailableError that names the operation."""
    of = f" of {', '.join(event_ids)}" if event_ids else ""
    try:
        yield
    except (RedisError, OSError) as exc:
        if _is_full(exc):
            raise TimerFullError(f"the timer's Redis is at its maxmemory and refused the {operation}{of}") from exc
        raise TimerUnavailableError(
            f"the timer's Redis {_failed(exc)}: the {operation}{of} may or may not have happened",
            event_ids=event_ids,
        ) from exc


def _is_full(exc: Exception) -> bool:
    """Whether Redis is at its maxmemory: 6.2 puts a script's error into another, in which redis-py does not look."""
    return isinstance(exc, OutOfMemoryError) or "-OOM command not allowed" in str(exc)


def _failed(exc: Exception) -> str:
    """What a Redis did that carried nothing out, as far as we know: a replica that only reads answers, for one."""
    if isinstance(exc, AuthenticationError):
        # To redis-py, that is an error of the connection.
        return f"refused the user or the password ({exc})"
    if isinstance(exc, MovedError):
        # As a node of a cluster that is spoken to as if it were alone; see cluster.py.
        return f"sent us to another node ({exc}; the URL of a cluster is redis+cluster://)"
    return f"did not answer ({exc})" if isinstance(exc, UNAVAILABLE) else f"answered with an error ({exc})"


def _triples(deliveries: Iterable[Delivery]) -> Iterator[str]:
    for delivery in deliveries:
        yield from (delivery.key, delivery.token, delivery.id)


def _or_empty(number: int | None) -> int | str:
    return "" if number is None else number
