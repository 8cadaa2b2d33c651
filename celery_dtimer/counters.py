"""What happened to events in this process: counted by queue, and told by signals. Nobody is asked for that.

A counter is written by one thread: those of a worker's listener by its own, ``fired`` by the thread that fires. Any
thread posts and cancels, and both of these threads drop, so that these three take a lock.
"""

import logging
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from typing import Any

from celery_dtimer import signals
from celery_dtimer.message import StoredMessage, UnknownFormatError, decode
from celery_dtimer.timer.events import Answer, Delivery, NewEvent, Verdict
from celery_dtimer.timer.forks import tell_of_forks
from celery_dtimer.timer.times import ms_to_datetime

logger = logging.getLogger(__name__)

#: Upper bounds of the lateness histogram, in seconds; what is later falls in one more bucket.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)

#: Queues that are told apart; a message's sender may name any number. All beyond are counted as OTHERS.
MOST_QUEUES = 100
OTHERS = "(others)"

#: Latest latenesses that are kept, for percentiles.
RECENT = 1000

TOO_OFTEN = "redelivered too often"


#: What is counted.
NAMES = ("posted", "fired", "redelivered", "confirmed", "released", "parked", "cancelled", "dropped")

#: Percentiles of the latest latenesses, and their shares.
SHARES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))


class QueueCounts:
    """Events of one queue since the process started; ``lateness`` has a count a bucket of BOUNDS, and one more."""

    __slots__ = (*NAMES, "lateness", "lateness_sum")

    def __init__(self) -> None:
        self.posted = self.fired = self.redelivered = self.confirmed = self.released = self.parked = self.cancelled = 0
        self.dropped = 0
        self.lateness = [0] * (len(BOUNDS) + 1)  # not cumulative
        self.lateness_sum = 0.0


class Counters:
    """The counters of one app in this process; the child of a fork begins at 0.

    Args:
        app: The Celery app, the signals' sender.

    Attributes:
        queues: QueueCounts by queue; ``""`` has what is of an unknown queue.
        recent: The latest latenesses, in seconds.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self.forked()
        tell_of_forks(self)

    def forked(self) -> None:
        """Begin at 0: the parent counts its own."""
        self._lock = threading.RLock()  # a signal's handler that posts may have interrupted its holder
        self.queues: dict[str, QueueCounts] = {}
        self.recent: deque[float] = deque(maxlen=RECENT)

    def of(self, queue: str) -> QueueCounts:
        """Return the counts of a queue, or of all that are too many."""
        return self.queues.get(queue) or self._new(queue)

    def _new(self, queue: str) -> QueueCounts:
        return self.queues.setdefault(self.name_of(queue), QueueCounts())

    def name_of(self, queue: str) -> str:
        """Return the name that a queue is counted under."""
        return queue if queue in self.queues or len(self.queues) < MOST_QUEUES else OTHERS

    def total(self, name: str) -> int:
        """Return the sum of a counter over all queues."""
        return sum(getattr(counts, name) for counts in list(self.queues.values()))

    def report(self) -> dict[str, Any]:
        """Return all totals, and the latest latenesses in seconds: how many, and percentiles of them."""
        latest = sorted(self.recent.copy())
        shares = (
            {name: latest[min(len(latest) - 1, int(len(latest) * share))] for name, share in SHARES} if latest else {}
        )
        return {
            **{name: self.total(name) for name in NAMES},
            "lateness": {"events": len(latest), **{name: round(value, 6) for name, value in shares.items()}},
        }

    # --- by any thread

    def posted(self, event: NewEvent, due_ms: int | None, on_conflict: str) -> None:
        """Count an event that is stored, to be due at ``due_ms`` if that is known."""
        with self._lock:
            self.of(event.queue).posted += 1
        if signals.event_posted.receivers:
            task = event.kind.decode(errors="replace") or None
            signals.event_posted.send(
                self._app,
                id=event.id,
                queue=event.queue,
                task=task,
                due_at=None if due_ms is None else ms_to_datetime(due_ms),
                on_conflict=on_conflict,
            )

    def cancelled(self, event_id: str, answer: Answer) -> None:
        """Count an event that was cancelled, as the answer says."""
        with self._lock:
            self.of(answer.queue or "").cancelled += 1
        if signals.event_cancelled.receivers:
            task = None if answer.payload is None else _task(answer.payload, event_id, answer.queue or "")
            signals.event_cancelled.send(
                self._app, id=event_id, queue=answer.queue, task=task, due_at=answer.due_at, state=answer.state
            )

    # --- by the thread that fires

    def fired(self, delivery: Delivery, stored: StoredMessage, lateness: float) -> None:
        """Count a delivery that is handed to the worker, ``lateness`` seconds after it was due."""
        counts = self.of(delivery.queue)
        counts.fired += 1
        if delivery.redeliveries:
            counts.redelivered += 1
        counts.lateness[bisect_left(BOUNDS, lateness)] += 1
        counts.lateness_sum += lateness
        self.recent.append(lateness)
        if signals.event_fired.receivers:
            signals.event_fired.send(
                self._app,
                **_named(delivery, stored.headers.get("task")),
                lateness=lateness,
                max_redeliveries=delivery.max_redeliveries,
            )

    def dropped(self, delivery: Delivery) -> None:
        """Count an event that is ended without a run, since it is too late."""
        with self._lock:
            self.of(delivery.queue).dropped += 1

    # --- by the listener's thread

    def answered(self, verdicts: Sequence[Verdict], replies: Sequence[int]) -> None:
        """Count what Redis has done of what was decided, see verdicts.lua for its replies."""
        for verdict, reply in zip(verdicts, replies, strict=True):
            if not reply:
                continue  # the lease was somebody else's by then, or this has been answered before
            counts = self.of(verdict.delivery.queue)
            if verdict.action in {"confirm", "end"}:
                counts.confirmed += 1
                if signals.event_confirmed.receivers:
                    self._tell(signals.event_confirmed, **_of(verdict.delivery))
            elif verdict.action == "park" or reply == 2:  # noqa: PLR2004 - one release too many
                counts.parked += 1
                if signals.event_parked.receivers:
                    self._tell(signals.event_parked, **_of(verdict.delivery), reason=verdict.reason)
            elif verdict.action in {"release", "return", "leave"}:
                counts.released += 1
                if signals.event_released.receivers:
                    self._tell(
                        signals.event_released,
                        **_of(verdict.delivery),
                        counted=verdict.action == "release",
                        delay=verdict.delay_ms / 1000,
                        reason=verdict.reason,
                    )

    def parked(self, event_ids: Sequence[str], queues: Sequence[str]) -> None:
        """Count events that a claim of these queues parked; it does not say which was whose."""
        queue = queues[0] if len(queues) == 1 else None
        self.of(queue or "").parked += len(event_ids)
        if signals.event_parked.receivers:
            for event_id in event_ids:
                self._tell(
                    signals.event_parked,
                    id=event_id,
                    queue=queue,
                    task=None,
                    due_at=None,
                    redeliveries=None,
                    reason=TOO_OFTEN,
                )

    def dropped_from_parked(self, queues: Sequence[str]) -> None:
        """Count events of some queues, one each, that were parked for too long."""
        with self._lock:
            for queue in queues:
                self.of(queue).dropped += 1

    def _tell(self, signal: Any, **fields: Any) -> None:
        try:
            signal.send(self._app, **fields)
        except BaseException:
            # Celery has caught all but a SystemExit and its like, which would end the listener's thread in silence.
            logger.exception("dtimer: a receiver of %s failed", signal.name, extra={"dtimer_event": fields["id"]})


def _of(delivery: Delivery) -> dict[str, Any]:
    return _named(delivery, _task(delivery.payload, delivery.id, delivery.queue))


def _task(payload: bytes, event_id: str, queue: str) -> Any:
    try:
        return decode(payload, event_id, queue).headers.get("task")
    except UnknownFormatError:
        return None


def _named(delivery: Delivery, task: Any) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "queue": delivery.queue,
        "task": task if isinstance(task, str) else None,
        "due_at": delivery.due_at,
        "redeliveries": delivery.redeliveries,
    }
