"""The calls of a listener: claims and verdicts. They are built here, and sent several in one round trip."""

import time
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from struct import Struct
from typing import Any, NamedTuple

from celery_dtimer.timer.events import Damaged, Delivery, Verdict, delivered
from celery_dtimer.timer.storing.calls import Calls, tags_of, text_of
from celery_dtimer.timer.storing.scripts import Call

#: Events in one call of a script, and bytes of their payloads: long enough to be cheap, short enough not to hold Redis
#: up (about 2 ms). An event that is larger by itself goes alone.
BATCH = 500
BATCH_BYTES = 1024 * 1024

#: Events in one claim, for the same reason (about 7 ms): a claim writes more than a post does.
CLAIM = 256

#: A promise that is overdue by more than this many milliseconds has lapsed, and anybody may take it over.
PROMISE_GRACE_MS = 20

#: The head of a delivery in claim's reply.
HEAD = Struct(">IIIIIqqqq")

#: What stands before a text of so many bytes in MessagePack: keys and tokens of ours are no longer.
SHORT = tuple(b"\xd9" + bytes([size]) for size in range(256))


#: What is said of several deliveries at once.
_but_delivery = itemgetter(slice(1, None))


class Claimed(NamedTuple):
    """The reply to a claim.

    Attributes:
        now: The server's clock, in seconds since 1970.
        wait: Seconds until the instant that the listener has promised to wake at; None without a promise.
        deliveries: The claimed events.
        parked: Ids of the events that were parked instead, since they had been redelivered too often.
        polls: Polls a second of the queue that has the fewest; 0 unless this was one.
        unreadable: Claimed events whose id is no text.
        damaged: Places of the unreadable records that were put aside.
        errors: Errors in a queue, or with one event; the others were claimed.
        shares: Whether the shard takes a part of the catch-up limit's rate; False only if it is known not to.
    """

    now: float
    wait: float | None
    deliveries: list[Delivery]
    parked: list[str]
    polls: int
    unreadable: list[Delivery]
    damaged: list[Damaged]
    errors: list[str]
    shares: bool


class Claims(Calls):
    """Claims of a shard's events, and verdicts on its deliveries."""

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
        shy_ms: int = 0,
        is_poll: bool = False,
        limit: tuple[int, int] = (0, 0),
        sharers: int = 1,
    ) -> Call:
        """Claim up to ``room`` events (at most CLAIM) of some queues; read the reply with read_claim.

        ``ahead_ms`` claims events that are due within this time too: the listener holds them until then. A negative one
        claims only events overdue by this time, and promises nothing, as with no room. Leases that lapse after
        ``lapsed_ms`` have not lapsed yet, whatever the server's clock says. Released events are left to others for
        ``shy_ms``. ``is_poll``: no token woke the listener. ``limit``: the listener's own rate for what is long
        overdue, in events a 1,000 s (0: none), and the milliseconds from which on it is; ``sharers`` shards share it.
        """
        args = (listener, holder, nonce, min(room, CLAIM), BATCH_BYTES // 2, lease_ms, PROMISE_GRACE_MS, ahead_ms)
        own_limit = f"{limit[0]} {limit[1]} {sharers}"
        return self.call("claim", queues, *args, or_empty(lapsed_ms), shy_ms, int(is_poll), own_limit)

    @staticmethod
    def now_of(reply: Any) -> float:
        """Return the server's clock, in seconds since 1970, as claim's reply says it."""
        return float(reply[0] / 1e6)

    def read_claim(self, reply: Any, queues: Sequence[str], zero: float | None = None) -> Claimed:
        """Read claim's reply.

        ``zero``: when the server's clock stood at 0, by our monotonic one; None: as if it had answered just now.
        """
        now_us, wait_us, heads, texts, parked, polls, damaged, errors, shares = reply
        if zero is None:
            zero = time.monotonic() - now_us / 1e6
        shard = self.keys.shard
        deliveries: list[Delivery] = []
        unreadable: list[Delivery] = []
        end = 0
        for size, token_size, payload_size, tags_size, number, redeliveries, most, due_ms, ready_ms in HEAD.iter_unpack(
            heads
        ):
            start, token_at = end, end + size
            payload_at = token_at + token_size
            tags_at = payload_at + payload_size
            end = tags_at + tags_size
            key = texts[start:token_at]
            event_id, readable = id_of(key)
            delivery = delivered(
                event_id,
                texts[payload_at:tags_at],
                queues[number],
                due_ms,
                redeliveries,
                most,
                key,
                texts[token_at:payload_at].decode(),
                zero + due_ms / 1000,
                ready_ms,
                shard,
                tags_of(texts[tags_at:end]) if tags_size else (),
            )
            (deliveries if readable else unreadable).append(delivery)
        return Claimed(
            now=now_us / 1e6,
            wait=None if wait_us < 0 else wait_us / 1e6,
            deliveries=deliveries,
            parked=[id_of(key)[0] for key in parked],
            polls=polls,
            unreadable=unreadable,
            damaged=[self.damaged_at(where, b"") for where in damaged],
            errors=[error.decode(errors="replace") for error in errors],
            shares=bool(shares),
        )

    def verdicts(self, queue: str, verdicts: Sequence[Verdict]) -> Call:
        """Tell Redis the verdicts on deliveries of one queue, see verdicts.lua for the reply: an answer a byte."""
        parts: list[Any] = []
        for decided, alike in groupby(verdicts, _but_delivery):
            parts += decided
            parts.append(_keys_and_tokens([verdict.delivery for verdict in alike]))
        return self.call("verdicts", [queue], *parts)

    def confirm(self, queue: str, deliveries: Iterable[Delivery], *, ended_well: bool = False) -> Call:
        """End the leases and events of deliveries of one queue.

        Those that ``ended_well`` are ended if another listener holds them by now, too. Reply for such a one: 2.
        """
        action = "end" if ended_well else "confirm"
        return self.verdicts(queue, [Verdict(delivery, action) for delivery in deliveries])

    def renew(self, queue: str, lease_ms: int, deliveries: Iterable[Delivery]) -> Call:
        """Put off the lapse of leases of one queue."""
        return self.verdicts(queue, [Verdict(delivery, "renew", lease_ms) for delivery in deliveries])

    def release(
        self, queue: str, deliveries: Iterable[Delivery], *, backoff_ms: int = 0, counted: bool, reason: str = ""
    ) -> Call:
        """Give leases of one queue back; ``counted`` unless they had not started."""
        action = "release" if counted else "return"
        return self.verdicts(queue, [Verdict(delivery, action, backoff_ms, reason) for delivery in deliveries])

    def park(self, queue: str, deliveries: Iterable[Delivery], reason: str) -> Call:
        """Keep deliveries of one queue aside."""
        return self.verdicts(queue, [Verdict(delivery, "park", 0, reason) for delivery in deliveries])

    def damaged_at(self, where: bytes, record: bytes) -> Damaged:
        """Return the record that was put aside from a place."""
        name, _, field = where.partition(b" ")
        return Damaged(id_of(field)[0], self.keys.prefix + name.decode(), where, record, self.keys.shard)


def id_of(key: bytes) -> tuple[str, bool]:
    """The id that a key begins with, and whether it is a text."""
    name = key.rpartition(b"\xff")[0] or key
    try:
        return name.decode(), True
    except UnicodeDecodeError:
        return text_of(name)


def _keys_and_tokens(deliveries: Sequence[Delivery]) -> bytes:
    """The key and the token of each, as one MessagePack array."""
    parts = [b"\xdd", (2 * len(deliveries)).to_bytes(4, "big")]
    for delivery in deliveries:
        for text in (delivery.key, delivery.token.encode()):
            size = len(text)
            parts.append(SHORT[size] if size < len(SHORT) else b"\xdb" + size.to_bytes(4, "big"))
            parts.append(text)
    return b"".join(parts)


def or_empty(number: int | None) -> int | str:
    """The number for a script, which reads an empty text as none."""
    return "" if number is None else number
