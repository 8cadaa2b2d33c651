"""What of a shard is parked: pages of it, the way back, and the end."""

import base64
import binascii
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from celery_dtimer.timer.parked import ParkedEvent
from celery_dtimer.timer.storing.calls import Calls, tags_of, text_of
from celery_dtimer.timer.storing.claims import id_of
from celery_dtimer.timer.storing.scripts import Call
from celery_dtimer.timer.times import ms_to_datetime

#: Records that one call looks at, and bytes of them: it takes some milliseconds.
MOST_LOOKED_AT = 500
MOST_BYTES = 1024 * 1024

#: Events that one call of drop_old ends: it takes less than a claim.
MOST_DROPPED = 100


class Position(NamedTuple):
    """Where a page ends: when its last event was parked, and that one's key. So it stays, whatever becomes of it."""

    parked_ms: int
    key: bytes

    def cursor(self, prefix: str) -> str:
        """Return it as text, for a timer whose keys have that prefix."""
        raw = b"%d %s" % self
        return base64.urlsafe_b64encode(_sum(raw, prefix) + raw).decode().rstrip("=")

    @classmethod
    def read(cls, cursor: str, prefix: str) -> "Position | None":
        """Return what a cursor says; None if it is none of that timer's."""
        try:
            data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        given, raw = data[:4], data[4:]
        parked_ms, _, key = raw.partition(b" ")
        if given != _sum(raw, prefix) or not parked_ms.isdigit():
            return None
        return cls(int(parked_ms), key)


class Parking(Calls):
    """The parked events of one shard."""

    def parked(
        self, position: Position | None, *, limit: int, kind: bytes, reason: str, prefix: str, event_id: str = ""
    ) -> Iterator[tuple[Position, ParkedEvent]]:
        """Go through what is parked behind a position, the newest first.

        Args:
            position: None: from the first on.
            limit: At most so many.
            kind: Of this kind alone; empty: of any.
            reason: Only those whose reason has this text in it.
            prefix: For their cursors.
            event_id: Of this id alone; empty: of any.
        """
        while limit > 0:
            before = ("", b"") if position is None else position
            args = (*before, limit, MOST_LOOKED_AT, MOST_BYTES, kind, reason, event_id)
            at_ms, at_key, rows = self.ask(self.call("parked", (), *args))
            for (
                key,
                parked_ms,
                why,
                redeliveries,
                due_ms,
                queue,
                max_redeliveries,
                of_kind,
                holder,
                error,
                tags,
            ) in rows:
                here = Position(parked_ms, key)
                yield (
                    here,
                    ParkedEvent(
                        id=id_of(key)[0],
                        queue=text_of(queue)[0],
                        kind=text_of(of_kind)[0] or None,
                        reason=text_of(why)[0],
                        redeliveries=redeliveries,
                        max_redeliveries=max_redeliveries,
                        due_at=ms_to_datetime(due_ms),
                        parked_at=ms_to_datetime(parked_ms),
                        tags=tags_of(tags),
                        cursor=here.cursor(prefix),
                        holder=text_of(holder)[0] or None,
                        error=text_of(error)[0] or None,
                    ),
                )
            limit -= len(rows)
            if not at_key:
                return
            position = Position(at_ms, at_key)

    def replay(self, event_id: str, delay_ms: int) -> int:
        """Make a parked event pending again: its instant, -1 if nothing is parked, -2 if it is pending anew."""
        return self.unpark("replay", [(event_id, delay_ms)])[0]

    def drop_old(self, ttl_ms: int) -> Call:
        """End what was parked ``ttl_ms`` ago or longer, see drop_old.lua for the reply."""
        return self.call("drop_old", (), ttl_ms, MOST_DROPPED)

    def unpark(
        self,
        action: Literal["replay", "drop"],
        names: Sequence[tuple[str | bytes, int]],
        queues: Iterable[str] = (),
        *,
        dry_run: bool = False,
    ) -> list[int]:
        """Replay parked events, or drop them, in one call; see replay.lua for the reply.

        Args:
            action: What is done.
            names: Of each, its id, or its key, and after how many milliseconds it is due.
            queues: The queues that they are in, as far as the caller knows.
            dry_run: Change nothing.
        """
        parts = [part for name, ms in names for part in (name.encode() if isinstance(name, str) else name, ms)]
        call = self.call("replay", tuple(queues) or self._usual, action, MOST_BYTES, int(dry_run), *parts)
        replies: list[int] = self.ask(call, *(name if isinstance(name, str) else id_of(name)[0] for name, _ in names))
        return replies


def _sum(raw: bytes, prefix: str) -> bytes:
    """Four bytes that a cursor of another timer, or one that was made up, does not begin with."""
    return zlib.crc32(prefix.encode() + raw).to_bytes(4)
