"""All shards of a namespace as one: an event's id says in which of them it is stored."""

import heapq
import zlib
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Literal

import redis

from celery_dtimer.errors import SettingsError
from celery_dtimer.timer.cluster import Cluster
from celery_dtimer.timer.events import Cancellation, Counts, EventInfo, NewEvent, Upcoming
from celery_dtimer.timer.keys import Keys
from celery_dtimer.timer.replication import Replication
from celery_dtimer.timer.servers import Server
from celery_dtimer.timer.store import Store, post_named, unavailable_named

#: Most shards: a listener has a connection for each, and looks at all of them whenever it wakes. With so many, an idle
#: one takes 6 % of a processor; with 256 it took 31 %, and events were 8 ms late at the median.
MAX_SHARDS = 64

#: So many of the soonest events are read to leave them out; to leave out more, they are searched for.
READ_THROUGH = 1000

#: The order of a page.
SOONEST_FIRST = attrgetter("due_at", "queue", "id")


class Shards:
    """The shards of a namespace, each a Store.

    Every operation raises ``TimerUnavailableError`` if Redis does not answer, and ``SettingsError``, with nothing
    changed, if the namespace has another number of shards.

    Args:
        servers: Where they are.
        namespace: Its name.
        count: How many there are.
        replication: What a post waits for.
    """

    def __init__(
        self, servers: Server | Cluster, namespace: str, count: int = 1, replication: Replication | None = None
    ) -> None:
        self.servers = servers
        self.namespace = namespace
        self._settled = False
        self._stores: list[Store] = []
        for number in range(count):
            keys = Keys(namespace, number)
            self._stores.append(Store(servers.of(keys.events), keys, replication))

    def __len__(self) -> int:
        """Return how many there are."""
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

    def settle(self) -> None:
        """Make sure that the namespace has as many shards, or is new and has from now on.

        With another number, an event would be looked for where it is not.

        Raises:
            SettingsError: It has more, or fewer.
            redis.RedisError, OSError: Redis did not answer.
        """
        if self._settled:
            return
        first = self._stores[0]
        count = first.run(first.shards(len(self)))
        if count != len(self):
            raise SettingsError(
                f"dtimer_shards is {len(self)}, but the namespace {self.namespace!r} was first used with {count}, and "
                f"that can't be changed: set dtimer_shards to {count}, or take another dtimer_namespace",
                setting="dtimer_shards",
                value=len(self),
            )
        self._settled = True

    def masters(self) -> list[redis.Redis]:
        """Return a client of each server that they are stored in."""
        return self.servers.clients()

    # --- the operations of a Store, on the shard or the shards that they concern

    def post(self, events: Sequence[NewEvent], *, conflict: str = "error", max_wait_ms: int = 0) -> list[int]:
        """Store events of one shard and one queue, see ``Store.post``."""
        with post_named(events):
            self.settle()
        return self.of(events[0].id).post(events, conflict=conflict, max_wait_ms=max_wait_ms)

    def cancel(self, event_id: str) -> Cancellation:
        """End an event, unless it is in a listener's hands."""
        return self._found("cancel", event_id).cancel(event_id)

    def change(self, event_id: str, clock: Literal["in", "at"], when_ms: int) -> int | None:
        """Move an event that waits; returns its new instant, or None if it does not wait."""
        return self._found("change", event_id).change(event_id, clock, when_ms)

    def peek(self, event_id: str) -> EventInfo | None:
        """Say where an event is, or None if it is unknown."""
        return self._found("peek", event_id).peek(event_id)

    def replay(self, event_id: str, delay_ms: int) -> int:
        """Make a parked event pending again, see ``Store.replay``."""
        return self._found("replay", event_id).replay(event_id, delay_ms)

    def _found(self, operation: str, event_id: str) -> Store:
        with unavailable_named(operation, event_id):
            self.settle()
        return self.of(event_id)

    def count(self, *, offset_ms: int | None = None, duration_ms: int | None = None) -> Counts:
        """Count events; the offset and duration bound the pending ones."""
        with unavailable_named("count"):
            self.settle()
        counts = [store.count(offset_ms=offset_ms, duration_ms=duration_ms) for store in self]
        return Counts(
            pending=sum(count.pending for count in counts),
            leased=sum(count.leased for count in counts),
            parked=sum(count.parked for count in counts),
        )

    def upcoming(
        self, *, offset_ms: int | None, duration_ms: int | None, skip: int, limit: int, payloads: bool
    ) -> list[Upcoming]:
        """Return a page of the pending events, soonest first."""
        with unavailable_named("upcoming"):
            self.settle()
        skips = self._skips(offset_ms, duration_ms, skip) if len(self) > 1 else [skip]
        if skips is None:
            return []
        left = skip - sum(skips)
        pages = [
            store.upcoming(
                offset_ms=offset_ms, duration_ms=duration_ms, skip=skipped, limit=left + limit, payloads=payloads
            )
            for store, skipped in zip(self, skips, strict=True)
        ]
        return list(heapq.merge(*pages, key=SOONEST_FIRST))[left : left + limit]

    def _skips(self, offset_ms: int | None, duration_ms: int | None, skip: int) -> list[int] | None:
        """How many of the soonest events of each shard to leave out unread, to leave out ``skip`` of all, or some less.

        Returns:
            A count a shard; None if there are not so many events.
        """
        skips = [0] * len(self)
        while (left := skip - sum(skips)) > READ_THROUGH:
            # Of the n events that are `step` further on in their shards, the soonest has fewer than n * step before
            # it: those of its own shard may be left out.
            step = left // len(self)
            ahead = [
                (SOONEST_FIRST(event), number)
                for number, store in enumerate(self)
                for event in store.upcoming(
                    offset_ms=offset_ms, duration_ms=duration_ms, skip=skips[number] + step - 1, limit=1, payloads=False
                )
            ]
            if not ahead:
                return None
            skips[min(ahead)[1]] += step
        return skips
