"""What has a tag, or is of a kind, gone through page by page, as one walks through a shard."""

from collections.abc import Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

from celery_dtimer.timer.events import State, Upcoming
from celery_dtimer.timer.parked import ParkedEvent
from celery_dtimer.timer.storing.calls import Calls, tags_of, text_of
from celery_dtimer.timer.storing.claims import id_of, or_empty
from celery_dtimer.timer.storing.parking import MOST_BYTES, MOST_LOOKED_AT, Position
from celery_dtimer.timer.times import ms_to_datetime

#: Ids of a tag that one call looks at: about a millisecond of Redis' time.
MOST_IDS = 200

#: Which of what has a tag is wanted, see tagged.lua.
What = Literal["waits", "live", "parked", "any"]


class Row(NamedTuple):
    """One event, as tagged.lua and sift.lua describe it; payload is empty unless it was asked for."""

    state: State
    key: bytes
    queue: str
    due_ms: int
    parked_ms: int
    reason: str
    redeliveries: int
    max_redeliveries: int
    kind: bytes
    tags: tuple[str, ...]
    payload: bytes

    @property
    def id(self) -> str:
        """Its id."""
        return id_of(self.key)[0]

    @property
    def position(self) -> Position:
        """Where it stands among what is parked."""
        return Position(self.parked_ms, self.key)

    def upcoming(self) -> Upcoming:
        """Return it as one that waits."""
        return Upcoming(self.id, self.queue, ms_to_datetime(self.due_ms), self.payload or None, self.tags)


class Selecting(Calls):
    """The events of one shard that have a tag, or are of a kind.

    Each walk sees what is there from its begin to its end; what comes, goes or moves meanwhile it may see or not.
    """

    def tagged(
        self,
        tag: str,
        what: What,
        *,
        offset_ms: int | None = None,
        duration_ms: int | None = None,
        payloads: bool = False,
    ) -> Iterator[Row]:
        """Go through what has a tag, in the order of the ids; the rest of the namespace costs nothing.

        Args:
            tag: The tag.
            what: Which of it.
            offset_ms: Of what waits, what is due from this much after now,
            duration_ms: for so long.
            payloads: Whether the rows have their payloads.
        """
        bounds = or_empty(offset_ms), or_empty(duration_ms)
        after = b""
        while True:
            args = (tag, after, MOST_IDS, MOST_BYTES, what, int(payloads), *bounds)
            after, rows = self.ask(self.call("tagged", self._usual, *args))
            yield from map(row_of, rows)
            if not after:
                return

    def sifted(
        self,
        kind: bytes,
        queue: str,
        *,
        held: bool,
        offset_ms: int | None = None,
        duration_ms: int | None = None,
        page: int = MOST_LOOKED_AT,
        payloads: bool = False,
    ) -> Iterator[Row]:
        """Go through what waits in a queue, soonest first, and return what is of a kind.

        Args:
            kind: The kind.
            queue: The queue.
            held: Only what is set aside since the kind is held; or only the rest.
            offset_ms: From this much after now.
            duration_ms: For so long.
            page: Rows that one call returns at most.
            payloads: Whether they have their payloads.
        """
        score: bytes | str = ""
        member = b""
        while True:
            args = (kind, int(held), or_empty(offset_ms), or_empty(duration_ms), score, member, page)
            score, member, rows = self.ask(self.call("sift", [queue], *args, MOST_LOOKED_AT, MOST_BYTES, int(payloads)))
            yield from map(row_of, rows)
            if not member:
                return

    def walks(self, kind: bytes, operation: str, only: str | None = None) -> Iterator[partial[Iterator[Row]]]:
        """Return the walks, see ``sifted``, that together see what waits of a kind, in one queue or in all."""
        for queues in self.queues(operation) if only is None else [[only]]:
            for queue in queues:
                for held in (False, True):
                    yield partial(self.sifted, kind, queue, held=held)

    def parked_rows(self, kind: bytes) -> Iterator[Row]:
        """Go through what is parked and is of a kind, the newest first."""
        position = Position(2**53, b"\xff")
        while position.key:
            *found, rows = self.ask(
                self.call("parked", (), *position, MOST_LOOKED_AT, MOST_LOOKED_AT, MOST_BYTES, kind, "", "")
            )
            for key, parked_ms, reason, redeliveries, due_ms, queue, max_redeliveries, of_kind, _, _, tags in rows:
                yield row_of(
                    [
                        b"parked",
                        key,
                        queue,
                        due_ms,
                        parked_ms,
                        reason,
                        redeliveries,
                        max_redeliveries,
                        of_kind,
                        tags,
                        b"",
                    ]
                )
            position = Position(*found)


def row_of(reply: Any) -> Row:
    """Read a row."""
    state, key, queue, due_ms, parked_ms, reason, redeliveries, max_redeliveries, kind, tags, payload = reply
    return Row(
        State(state.decode()),
        key,
        text_of(queue)[0],
        due_ms,
        parked_ms,
        text_of(reason)[0],
        redeliveries,
        max_redeliveries,
        kind,
        tags_of(tags),
        payload,
    )


def parked_of(row: Row, prefix: str) -> ParkedEvent:
    """Return a row as what is parked, with a cursor for a timer whose keys have that prefix."""
    return ParkedEvent(
        id=row.id,
        queue=row.queue,
        kind=text_of(row.kind)[0] or None,
        reason=row.reason,
        redeliveries=row.redeliveries,
        max_redeliveries=row.max_redeliveries,
        due_at=ms_to_datetime(row.due_ms),
        parked_at=ms_to_datetime(row.parked_ms),
        tags=row.tags,
        cursor=row.position.cursor(prefix),
    )
