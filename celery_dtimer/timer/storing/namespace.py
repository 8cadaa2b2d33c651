"""All shards of a namespace as one: an event's id says in which of them it is stored."""

import heapq
import zlib
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import islice
from operator import attrgetter, itemgetter
from typing import Literal, TypeVar

import redis

from celery_dtimer.errors import TimerUnavailableError, TooManyHoldsError
from celery_dtimer.timer.checks import kind_of
from celery_dtimer.timer.connecting.cluster import Cluster
from celery_dtimer.timer.connecting.naming import listener_name, seen
from celery_dtimer.timer.connecting.server import Server
from celery_dtimer.timer.connecting.steps import Steps, run
from celery_dtimer.timer.events import Counts, Damaged, EventInfo, Hold, Upcoming
from celery_dtimer.timer.owners import DTIMER, Owner
from celery_dtimer.timer.parked import ParkedEvent
from celery_dtimer.timer.storing.holding import HELD, NO_PLACE
from celery_dtimer.timer.storing.keys import Keys
from celery_dtimer.timer.storing.parking import Position
from celery_dtimer.timer.storing.replicas import Replication
from celery_dtimer.timer.storing.shard import Store

#: Most events that a page reads to leave them out; to leave out more, it searches for its start.
READ_THROUGH = 1000

#: The order of a page.
SOONEST_FIRST = attrgetter("due_at", "queue", "id")

#: The order of holds.
BY_SINCE = attrgetter("since", "what", "name")

#: The order of what is parked.
BY_POSITION = itemgetter(0)

#: What reads a page of the pending events of some queues of a shard.
Part = Callable[..., Steps[list[Upcoming]]]

T = TypeVar("T")


class Shards:
    """The shards of a namespace, each a Store.

    Every operation raises ``TimerUnavailableError`` if Redis does not answer, and ``SettingsError``, with nothing
    changed, if the namespace has another number of shards.

    Args:
        servers: Their servers.
        namespace: Its name.
        count: Their number.
        replication: The replicas that a post waits for.
        owner: Owner of the events.
    """

    def __init__(
        self,
        servers: Server | Cluster,
        namespace: str,
        count: int = 1,
        replication: Replication | None = None,
        owner: Owner = DTIMER,
    ) -> None:
        self.servers = servers
        self.namespace = namespace
        self.owner = owner
        self._stores: list[Store] = []
        for number in range(count):
            keys = Keys(namespace, number, owner)
            first = self._stores[0] if number else None
            self._stores.append(
                Store(servers.of(keys.events), keys, replication, shards=count, first=first, owner=owner)
            )
        # After Keys has checked the namespace.
        self._name = f"{namespace}:{owner.mark}".removesuffix(":")

    def apart(self, holder: str | None = None) -> "Shards":
        """Return the same shards over connections of their own, see ``Server.apart``, with a listener's name."""
        twin = copy(self)
        twin.servers = self.servers.apart(None if holder is None else listener_name(self._name, holder))
        stores: list[Store] = []
        for store in self:
            stores.append(store.at(twin.servers.of(store.keys.events), stores[0] if stores else None))
        twin._stores = stores  # noqa: SLF001 - its own
        return twin

    def __len__(self) -> int:
        """Return the number of shards."""
        return len(self._stores)

    def __getitem__(self, number: int) -> Store:
        """Return one of them."""
        return self._stores[number]

    def __iter__(self) -> Iterator[Store]:
        """Go through all."""
        return iter(self._stores)

    def number_of(self, event_id: str) -> int:
        """Return the number of the shard that an event is stored in: for ever the same, in every version."""
        return zlib.crc32(event_id.encode()) % len(self)

    def of(self, event_id: str) -> Store:
        """Return the shard that an event is stored in."""
        return self._stores[self.number_of(event_id)]

    def masters(self) -> list[redis.Redis]:
        """Return a client of each server that they are stored in."""
        return self.servers.clients()

    def listeners(self) -> dict[str, float]:
        """Return for each listener that is connected the seconds since its last round: {name of the holder: seconds}.

        Raises:
            redis.RedisError, OSError: A server refuses to list its clients, or does not answer.
        """
        return seen(self.masters(), self._name)

    # --- operations of all shards together

    def count(self, *, offset_ms: int | None = None, duration_ms: int | None = None) -> Counts:
        """Count events; the offset and duration bound the pending ones."""
        return run(self.count_steps(offset_ms=offset_ms, duration_ms=duration_ms))

    def count_steps(self, *, offset_ms: int | None = None, duration_ms: int | None = None) -> Steps[Counts]:
        """Count events, see ``count``."""
        counts = []
        for store in self:
            counts.append((yield from store.count_steps(offset_ms=offset_ms, duration_ms=duration_ms)))  # noqa: PERF401 - it yields
        return Counts(
            pending=sum(count.pending for count in counts),
            leased=sum(count.leased for count in counts),
            parked=sum(count.parked for count in counts),
            damaged=sum(count.damaged for count in counts),
        )

    def hold(self, what: Literal["queue", "kind"], name: str, by: str, why: str) -> bool:
        """Let nothing of a queue, or of a kind, be claimed any more; False if it was held before.

        Raises:
            TooManyHoldsError: So many kinds are held that there is no place for one more; nothing was changed.
        """
        if what == "queue":
            return HELD in self._each(lambda store: store.hold(name, by, why))
        answers: list[int] = []

        def hold_kind(store: Store) -> None:
            answers.append(store.hold_kind(kind_of(name), by, why))
            if answers[-1] == NO_PLACE:
                for other, answer in zip(self, answers, strict=False):
                    if answer == HELD:
                        other.resume_kind(kind_of(name))
                raise TooManyHoldsError(name)

        self._each(hold_kind)
        return HELD in answers

    def resume(self, what: Literal["queue", "kind"], name: str) -> bool:
        """Let it be claimed again; False if it was not held."""
        if what == "queue":
            return any(self._each(lambda store: store.resume(name)))
        return any(self._each(lambda store: store.resume_kind(kind_of(name))))

    def holds(self) -> list[Hold]:
        """Return what is held, that which is held longest first."""
        found: dict[tuple[str, str], list[Hold]] = {}
        for store in self:
            for hold in store.holds():
                found.setdefault((hold.what, hold.name), []).append(hold)
        merged = [
            replace(min(same, key=BY_SINCE), complete=len(same) == len(self) and all(hold.complete for hold in same))
            for same in found.values()
        ]
        return sorted(merged, key=BY_SINCE)

    def limit(self, value: str, by: str, why: str) -> list[bool]:
        """Store a catch-up limit in each shard, or forget it; returns whether each had one, see ``Limits.limit``."""
        return self._each(lambda store: store.limit(value, by, why))

    def _each(self, change: Callable[[Store], T]) -> list[T]:
        """Make a change in each shard; if one does not answer, the error says that others have it already."""
        done: list[T] = []
        for store in self:
            try:
                done.append(change(store))
            except TimerUnavailableError as exc:
                if not done:
                    raise
                raise TimerUnavailableError(
                    f"{exc}; it is done in {len(done)} of {len(self)} shards, and safe to be done again"
                ) from exc
        return done

    @property
    def cursor_prefix(self) -> str:
        """What the cursors of this namespace are made with, and no other's."""
        return f"{self.owner.mark}{self.namespace}/{len(self)}"

    def parked(
        self, position: Position | None, *, limit: int, kind: bytes, reason: str, event_id: str = ""
    ) -> list[ParkedEvent]:
        """Return a page of what is parked, the newest first, from behind a position on."""
        prefix = self.cursor_prefix
        pages = [
            store.parked(position, limit=limit, kind=kind, reason=reason, prefix=prefix, event_id=event_id)
            for store in ([self.of(event_id)] if event_id else self)
        ]
        return [event for _, event in islice(heapq.merge(*pages, key=BY_POSITION, reverse=True), limit)]

    def forecast(self, *, offset_ms: int, step_ms: int, intervals: int) -> dict[str, list[int]]:
        """Count what is due in each of some intervals from ``offset_ms`` after now on, by queue."""
        counts: dict[str, list[int]] = {}
        for store in self:
            for queue, found in store.forecast(offset_ms=offset_ms, step_ms=step_ms, intervals=intervals).items():
                counts[queue] = [
                    one + other for one, other in zip(counts.get(queue, [0] * intervals), found, strict=True)
                ]
        return counts

    def damaged(self) -> list[Damaged]:
        """Return the records that could not be read and were put aside."""
        return [damaged for store in self for damaged in store.damaged()]

    def leased(self, *, queue: str | None, skip: int, limit: int) -> list[EventInfo]:
        """Return a page of what is in listeners' hands, that which lapses first first."""
        rows: list[tuple[int, str]] = []
        for store in self:
            for queues in [[queue]] if queue is not None else store.queues("leased"):
                rows += store.lapses(queues, skip + limit)
        ids = [event_id for _, event_id in sorted(rows)[skip : skip + limit]]
        found = {info.id: info for store in self for info in store.peek_many([i for i in ids if self.of(i) is store])}
        return [found[event_id] for event_id in dict.fromkeys(ids) if event_id in found]

    def upcoming_steps(
        self,
        *,
        offset_ms: int | None,
        duration_ms: int | None,
        skip: int,
        limit: int,
        payloads: bool,
        queue: str | None = None,
    ) -> Steps[list[Upcoming]]:
        """Return a page of the pending events, of one queue or of all, soonest first."""
        parts: list[Part] = []
        for store in self:
            portions = [[queue]] if queue is not None else (yield from store.queues_steps("upcoming"))
            parts += [
                partial(store.upcoming_steps, queues, offset_ms=offset_ms, duration_ms=duration_ms)
                for queues in portions
            ]
        skips = (yield from _skips_steps(parts, skip)) if len(parts) > 1 else [skip]
        if skips is None:
            return []
        left = skip - sum(skips)
        pages = []
        for part, skipped in zip(parts, skips, strict=True):
            pages.append((yield from part(skip=skipped, limit=left + limit, payloads=payloads)))
        return list(heapq.merge(*pages, key=SOONEST_FIRST))[left : left + limit]


def _skips_steps(parts: Sequence[Part], skip: int) -> Steps[list[int] | None]:
    """Return the number of events of each part to leave out unread: together ``skip`` of all, or some less.

    Returns:
        A count a part; None if there are fewer events.
    """
    skips = [0] * len(parts)
    while (left := skip - sum(skips)) > READ_THROUGH:
        # Of the n events that are `step` further on in their parts, the soonest has fewer than n * step before
        # it: those of its own part may be left out.
        step = max(1, left // len(parts))
        ahead = []
        for number, part in enumerate(parts):
            found = yield from part(skip=skips[number] + step - 1, limit=1, payloads=False)
            ahead += [(SOONEST_FIRST(event), number) for event in found]
        if not ahead:
            return None
        skips[min(ahead)[1]] += step
    return skips
