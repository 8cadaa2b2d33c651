"""Events of all shards that are chosen by a tag, by their kind, or by both."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

from celery_dtimer.timer.events import Answer, State, Upcoming
from celery_dtimer.timer.parked import ParkedEvent
from celery_dtimer.timer.storing.namespace import Shards
from celery_dtimer.timer.storing.parking import MOST_LOOKED_AT, Position
from celery_dtimer.timer.storing.selecting import Row, What, parked_of
from celery_dtimer.timer.storing.shard import Store
from celery_dtimer.timer.times import ms_to_datetime


@dataclass(frozen=True)
class Choice:
    """What is chosen: a tag costs what has it, a kind alone all that waits, in bounded calls.

    Attributes:
        tag: A tag; None: whatever the tags.
        kind: A kind; empty: whatever the kind.
    """

    tag: str | None = None
    kind: bytes = b""

    def __str__(self) -> str:
        tag = "" if self.tag is None else f"tag {self.tag!r}"
        name = f"name {self.kind.decode(errors='replace')!r}" if self.kind else ""
        return " and ".join(filter(None, (tag, name)))

    def upcoming(
        self,
        shards: Shards,
        *,
        offset_ms: int | None,
        duration_ms: int | None,
        skip: int,
        limit: int,
        payloads: bool,
        queue: str | None,
    ) -> list[Upcoming]:
        """Return a page of what waits, soonest first."""
        bounds = {"offset_ms": offset_ms, "duration_ms": duration_ms}
        if self.tag is not None:
            tagged = (store.tagged(self.tag, "waits", **bounds, payloads=payloads) for store in shards)
            rows = (row for row in self._of(chain.from_iterable(tagged)) if queue in {None, row.queue})
            return [row.upcoming() for row in heapq.nsmallest(skip + limit, rows, key=_soonest_first)[skip:]]
        page = min(skip + limit, MOST_LOOKED_AT)
        walks = [
            walk(**bounds, page=page, payloads=payloads)
            for store in shards
            for walk in store.walks(self.kind, "upcoming", queue)
        ]
        return [row.upcoming() for row in islice(heapq.merge(*walks, key=_soonest_first), skip, skip + limit)]

    def parked(self, shards: Shards, position: Position | None, *, limit: int, reason: str) -> list[ParkedEvent]:
        """Return a page of what is parked and has the tag, the newest first, from behind a position on."""
        rows = (row for store in shards for row in self.parked_rows(store, reason))
        behind = (row for row in rows if position is None or row.position < position)
        page = heapq.nlargest(limit, behind, key=lambda row: row.position)
        return [parked_of(row, shards.cursor_prefix) for row in page]

    def parked_rows(self, store: Store, reason: str) -> Iterator[Row]:
        """Go through what is parked in a shard and has the tag, and a text in its reason."""
        rows = store.tagged(self.tag or "", "parked")
        return (row for row in self._of(rows) if reason in row.reason)

    def rows(self, store: Store, what: What) -> Iterator[Row]:
        """Go through what a shard has of it; of a kind alone, what waits, and what is parked if that is wanted."""
        if self.tag is not None:
            return self._of(store.tagged(self.tag, what))
        walks = [walk() for walk in store.walks(self.kind, "sift")]
        return chain(*walks, store.parked_rows(self.kind) if what == "any" else ())

    def _of(self, rows: Iterable[Row]) -> Iterator[Row]:
        return (row for row in rows if not self.kind or row.kind == self.kind)


def planned(row: Row, *, ends_parked: bool) -> Answer:
    """Return the answer that a change of an event would have, as far as can be told."""
    due_at = ms_to_datetime(row.due_ms)
    done = row.state is State.PENDING or (ends_parked and row.state is State.PARKED)
    since = ms_to_datetime(row.parked_ms) if row.state is State.PARKED else None
    return Answer(done, row.state, due_at, due_at, row.queue, since=since, reason=row.reason or None, id=row.id)


def _soonest_first(row: Row) -> tuple[int, str, str]:
    return row.due_ms, row.queue, row.id
