"""The operations on stored events, each one script call: times in milliseconds, nothing remembered.

Every operation raises ``TimerUnavailableError`` if Redis does not answer, and ``SettingsError``, with nothing changed,
if the namespace has another layout or number of shards.
"""

from collections.abc import Sequence
from typing import Any, Literal

from celery_dtimer.timer.connecting.steps import Steps, run
from celery_dtimer.timer.connecting.url import TIMEOUT
from celery_dtimer.timer.events import Answer, Counts, Damaged, EventInfo, NewEvent, State, Upcoming
from celery_dtimer.timer.storing.calls import tags_of, text_of
from celery_dtimer.timer.storing.claims import Claims, id_of, or_empty
from celery_dtimer.timer.storing.failures import unavailable_named
from celery_dtimer.timer.storing.holding import Holds
from celery_dtimer.timer.storing.limiting import Limits
from celery_dtimer.timer.storing.parking import Parking
from celery_dtimer.timer.storing.scripts import Call
from celery_dtimer.timer.storing.selecting import Selecting
from celery_dtimer.timer.times import ms_to_datetime

#: Rows that ``upcoming`` reads in one call, of all queues together; with payloads, and bytes of these.
MOST_ROWS = 20_000
MOST_ROWS_WITH_PAYLOADS = 2_000
PAGE_BYTES = 256 * 1024

#: Intervals that ``forecast`` counts in one call, of all queues together: some milliseconds of Redis' time.
MOST_COUNTS = 2_000

#: Values of ``conflict`` with which a post may write nothing.
MAY_WRITE_NOTHING = ("keep", "again", "postpone")


class Store(Claims, Holds, Limits, Parking, Selecting):
    """The stored events of one shard."""

    # --- posting

    def post(
        self, events: Sequence[NewEvent], *, conflict: str = "error", origin: bytes = b"", max_wait_ms: int = 0
    ) -> list[int]:
        """Store events of one queue in one call, see ``post_steps``."""
        return run(self.post_steps(events, conflict=conflict, origin=origin, max_wait_ms=max_wait_ms))

    def post_steps(
        self, events: Sequence[NewEvent], *, conflict: str = "error", origin: bytes = b"", max_wait_ms: int = 0
    ) -> Steps[list[int]]:
        """Store events of one queue in one call.

        Args:
            events: The events.
            conflict: The effect on a pending event of the same id, see post.lua.
            origin: The key of the delivery that a retry follows.
            max_wait_ms: Bound of a debounce.

        Returns:
            One integer an event: the instant at which it is due now; minus that, if it was refused.

        Raises:
            TimerUnavailableError: Each of them may or may not be stored.
            TimerFullError: None of them is stored.
            NotReplicatedError: Those that were not refused are stored, and too few replicas have them.
        """
        args: list[Any] = [conflict, origin, max_wait_ms]
        for event in events:
            args += (event.id, event.clock, event.when_ms, event.max_redeliveries, event.payload)
            args.append(b"\xff".join((event.kind, *map(str.encode, event.tags))) if event.tags else event.kind)
        self._usual = (events[0].queue,)
        behind = self.replication.behind(self.keys.wait if conflict in MAY_WRITE_NOTHING else None)
        call = self.call("post", self._usual, *args)
        reply = yield from self.ask_steps(call, *(event.id for event in events), behind=behind)
        due: list[int] = reply[0] if behind else reply
        if behind:
            stored = [event.id for event, due_ms in zip(events, due, strict=True) if due_ms >= 0]
            self.replication.check(stored, reply[1:])
        return due

    # --- asking and changing

    def cancel(self, event_id: str, *, if_due_ms: int | None = None) -> Answer:
        """End an event, unless it is in a listener's hands, or due at another instant than ``if_due_ms``."""
        return run(self.cancel_steps(event_id, if_due_ms))

    def cancel_steps(self, event_id: str, if_due_ms: int | None = None) -> Steps[Answer]:
        """End an event, see ``cancel``."""
        return answer_of(event_id, (yield from self.ask_steps(self.cancelling(event_id, if_due_ms), event_id)))

    def change(
        self, event_id: str, clock: Literal["in", "at"], when_ms: int, *, if_due_ms: int | None = None
    ) -> Answer:
        """Move an event that waits, unless it is due at another instant than ``if_due_ms``."""
        return run(self.change_steps(event_id, clock, when_ms, if_due_ms))

    def change_steps(
        self, event_id: str, clock: Literal["in", "at"], when_ms: int, if_due_ms: int | None = None
    ) -> Steps[Answer]:
        """Move an event that waits, see ``change``."""
        call = self.changing(event_id, clock, when_ms, if_due_ms)
        return answer_of(event_id, (yield from self.ask_steps(call, event_id)))

    def cancelling(
        self, event_id: str, if_due_ms: int | None = None, *, if_tag: str = "", if_kind: bytes = b""
    ) -> Call:
        """Return the call of ``cancel``; only if the event has a tag, or is of a kind."""
        return self.call("cancel", self._usual, event_id, or_empty(if_due_ms), if_tag, if_kind)

    def changing(
        self,
        event_id: str,
        clock: Literal["in", "at"],
        when_ms: int,
        if_due_ms: int | None = None,
        *,
        if_tag: str = "",
        if_kind: bytes = b"",
    ) -> Call:
        """Return the call of ``change``; only if the event has a tag, or is of a kind."""
        return self.call("change", self._usual, event_id, clock, when_ms, or_empty(if_due_ms), if_tag, if_kind)

    def peek(self, event_id: str) -> EventInfo | None:
        """Return an event's state, or None if it is unknown."""
        return run(self.peek_steps(event_id))

    def peek_steps(self, event_id: str) -> Steps[EventInfo | None]:
        """Return an event's state, see ``peek``."""
        call = self.call("peek", self._usual, event_id)
        return info_of(event_id, (yield from self.ask_steps(call, event_id)))

    def lapses(self, queues: Sequence[str], most: int) -> list[tuple[int, str]]:
        """Return when the leases of some queues lapse, in milliseconds, and of which ids; of each queue the first."""
        with unavailable_named("leased"):
            replies = self.server.send(
                [("ZRANGE", self.keys.lease(queue), 0, most - 1, "WITHSCORES") for queue in queues], patience=TIMEOUT
            )
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        rows = [row for reply in replies for row in zip(reply[1::2], reply[::2], strict=True)]
        return [(int(float(lapse)), id_of(key)[0]) for lapse, key in rows]

    def peek_many(self, event_ids: Sequence[str]) -> list[EventInfo]:
        """Return the states of events, in few round trips, without those that are unknown."""
        replies: dict[str, Any] = {}
        if event_ids:
            self.ask_each({each: self.call("peek", self._usual, each) for each in event_ids}, replies)
        found = (info_of(event_id, replies[event_id]) for event_id in event_ids)
        return [info for info in found if info is not None]

    def upcoming_steps(
        self,
        queues: Sequence[str],
        *,
        offset_ms: int | None,
        duration_ms: int | None,
        skip: int,
        limit: int,
        payloads: bool,
    ) -> Steps[list[Upcoming]]:
        """Return a page of the pending events of some queues, soonest first; a large one is read in several calls."""
        found: list[Upcoming] = []
        rows_a_call = MOST_ROWS_WITH_PAYLOADS if payloads else MOST_ROWS
        part = max(1, rows_a_call // max(1, len(queues)))
        while len(found) < limit:
            most = min(limit - len(found), part)
            args = (or_empty(offset_ms), or_empty(duration_ms), skip + len(found), most)
            call = self.call("upcoming", queues, *args, PAGE_BYTES if payloads else 0)
            rows = yield from self.ask_steps(call)
            found += [
                Upcoming(
                    text_of(row[0])[0],
                    row[1].decode(),
                    ms_to_datetime(row[2]),
                    row[3] if payloads else None,
                    tags_of(row[4]) if payloads else None,
                )
                for row in rows
            ]
            if not rows or (len(rows) < most and not payloads):
                break
        return found

    def count_steps(self, *, offset_ms: int | None = None, duration_ms: int | None = None) -> Steps[Counts]:
        """Count events; the offset and duration bound the pending ones."""
        args = (or_empty(offset_ms), or_empty(duration_ms))
        rows = []
        for queues in (yield from self.queues_steps("count")):
            rows.append((yield from self.ask_steps(self.call("count", queues, *args))))  # noqa: PERF401 - it yields
        # Each row counts all parked and damaged events.
        return Counts(sum(row[0] for row in rows), sum(row[1] for row in rows), rows[-1][2], rows[-1][3])

    def forecast(self, *, offset_ms: int, step_ms: int, intervals: int) -> dict[str, list[int]]:
        """Count what is due in each of some intervals from ``offset_ms`` after now on, by queue; in bounded calls."""
        counts: dict[str, list[int]] = {}
        names = [name for portion in self.queues("forecast") for name in portion]
        part = max(1, MOST_COUNTS // intervals)
        for start in range(0, len(names), part):
            queues = names[start : start + part]
            reply = self.ask(self.call("forecast", queues, offset_ms, step_ms, intervals))
            counts |= zip(queues, reply, strict=True)
        return counts

    # --- what can't be read

    def damaged(self) -> list[Damaged]:
        """Return the records that could not be read and were put aside."""
        with unavailable_named("list of damaged records"):
            self.check_layout()
            places = self._plain("HKEYS", self.keys.damaged)
            return [self.damaged_at(where, self._plain("HGET", self.keys.damaged, where) or b"") for where in places]

    def drop_damaged(self, damaged: Damaged) -> bool:
        """Delete one of them; False if it is not there."""
        with unavailable_named("drop of a damaged record"):
            return bool(self._plain("HDEL", self.keys.damaged, damaged.where))


def info_of(event_id: str, reply: Any) -> EventInfo | None:
    """Read the reply of peek; None: the event is unknown."""
    if not reply:
        return None
    state, queue, due_ms, redeliveries, max_redeliveries, payload, holder, until_ms, reason, tags = reply
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
        tags=tags_of(tags),
    )


def answer_of(event_id: str, reply: Any) -> Answer:
    """Read the reply of cancel and change, see ``answer`` in common.lua."""
    done, state, queue, was_due_ms, due_ms, since_ms, until_ms, holder, reason, payload = reply
    if not state:
        # A record that can't be read was put aside by a cancel.
        return Answer(done=bool(done), id=event_id)
    return Answer(
        done=bool(done),
        state=State(state.decode()),
        due_at=ms_to_datetime(due_ms),
        was_due_at=ms_to_datetime(was_due_ms),
        queue=queue.decode() or None,
        holder=holder.decode() or None,
        since=ms_to_datetime(since_ms) if since_ms else None,
        until=ms_to_datetime(until_ms) if until_ms else None,
        reason=reason.decode() or None,
        payload=payload or None,
        id=event_id,
    )
