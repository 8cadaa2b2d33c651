"""What the timer holds, by queue, read for metrics: a few calls a shard, whatever the number of events."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields

from celery_dtimer.counters import MOST_QUEUES, OTHERS
from celery_dtimer.timer.connecting.steps import run
from celery_dtimer.timer.storing.namespace import Shards
from celery_dtimer.timer.storing.shard import Store

#: Milliseconds after which an event that is due is overdue: workers with room claim in far less.
OVERDUE_MS = 1000

#: Seconds ahead, for which the events that come due are counted.
AHEAD = (60, 300)


#: Fields of QueueGauges that are counted: all but ``held``.
COUNTED = 6


@dataclass
class QueueGauges:
    """Events of one queue now.

    Attributes:
        pending: Waiting for their time, or for a worker.
        due: Of those, due by now.
        overdue: Of those, due for more than a second.
        due_within_60: Of those that are pending, due within the next 60 s, those due by now left out.
        due_within_300: The same for 300 s.
        leased: In the hands of workers, or released and not claimed again.
        held: 1 if the queue is held, see ``StoredEvents.hold``.
    """

    pending: int = 0
    due: int = 0
    overdue: int = 0
    due_within_60: int = 0
    due_within_300: int = 0
    leased: int = 0
    held: int = 0


@dataclass(frozen=True)
class Gauges:
    """What a timer holds.

    Attributes:
        queues: By name.
        holds: Holds, of queues and of tasks.
        parked: Events that are kept aside.
        damaged: Records that can't be read.
        oldest_overdue: Seconds since the first of the events that are due was due, by this host's clock; 0 without one.
    """

    queues: dict[str, QueueGauges]
    holds: int
    parked: int
    damaged: int
    oldest_overdue: float


def read_gauges(shards: Shards) -> Gauges:
    """Read them.

    Raises:
        TimerUnavailableError: Redis did not answer.
        RedisError: It refused something.
    """
    queues: dict[str, QueueGauges] = {}
    parked = damaged = 0
    stored = [[name for portion in store.queues("metrics") for name in portion] for store in shards]
    alone = set(sorted(set().union(*stored))[:MOST_QUEUES])
    for store, names in zip(shards, stored, strict=True):
        groups = [(name, [name]) for name in names if name in alone]
        others = [name for name in names if name not in alone]
        groups += [(OTHERS, others[i : i + MOST_QUEUES]) for i in range(0, len(others), MOST_QUEUES)]
        rows = _rows(store, [group for _, group in groups] or [[]])
        for (name, _), row in zip(groups, rows, strict=False):
            queue = queues.setdefault(name, QueueGauges())
            for field, count in zip(fields(queue)[:COUNTED], row, strict=False):
                setattr(queue, field.name, getattr(queue, field.name) + count)
        # What is parked and damaged is the same in each row.
        parked, damaged = parked + rows[0][6], damaged + rows[0][7]
    holds = shards.holds()
    for hold in holds:
        if hold.what == "queue" and (hold.name in queues or len(queues) < MOST_QUEUES):
            queues.setdefault(hold.name, QueueGauges()).held = 1
    first = run(shards.upcoming_steps(offset_ms=None, duration_ms=0, skip=0, limit=1, payloads=False))
    age = max(0.0, time.time() - first[0].due_at.timestamp()) if first else 0.0
    return Gauges(queues, len(holds), parked, damaged, age)


def _rows(store: Store, groups: Sequence[Sequence[str]]) -> list[list[int]]:
    """Count the fields of QueueGauges for each group of queues, and what is parked and damaged, in one round trip."""
    spans = [("", ""), ("", 0), ("", -OVERDUE_MS), *((0, seconds * 1000) for seconds in AHEAD)]
    replies = run(store.run_all_steps([store.call("count", group, *span) for group in groups for span in spans]))
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    rows = []
    for start in range(0, len(replies), len(spans)):
        part = replies[start : start + len(spans)]
        rows.append([*(reply[0] for reply in part), *part[0][1:]])
    return rows
