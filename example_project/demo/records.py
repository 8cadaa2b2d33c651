"""The tasks' own records: what each run says of itself, kept apart from the timer.

The workers load this module (``celery worker --include demo.records``). The process that runs a task appends a record
right before the task's function starts and another right after it has ended; the demo judges the timer by these alone.
"""

import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from celery.signals import task_postrun, task_prerun, worker_ready
from shop import state

RECORDS = "demo:records"
READY = "demo:ready"


@dataclass
class Run:
    """One run of a task.

    Attributes:
        event_id: The event's id, which is the task's.
        kind: The task's name without its module.
        worker: The name of its worker.
        due: When the event was due as the task saw it, in seconds since 1970.
        received: When the worker received it, in seconds since 1970.
        started: When its function was about to start, in seconds since 1970.
        redeliveries: How often it was delivered before and not confirmed.
        outcome: Celery's state after the run; None while it runs, or for ever if its process was killed.
    """

    event_id: str
    kind: str
    worker: str
    due: float
    received: float
    started: float
    redeliveries: int
    outcome: str | None = None


class Records:
    """The records so far, read on from where the last reading ended.

    Attributes:
        runs: All runs, by their start.
    """

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self._read = 0
        self._open: dict[tuple[str, str], Run] = {}

    def read(self) -> tuple[list[Run], list[Run]]:
        """Return the runs that have started since the last reading, and those that have ended."""
        started, ended = [], []
        lines = state.client.lrange(RECORDS, self._read, -1)
        self._read += len(lines)
        for line in lines:
            fields = json.loads(line)
            if "outcome" in fields:
                run = self._open.pop((fields["event_id"], fields["worker"]))
                run.outcome = fields["outcome"]
                ended.append(run)
            else:
                run = Run(**fields)
                self._open[run.event_id, run.worker] = run
                self.runs.append(run)
                started.append(run)
        return started, ended

    def running(self, worker: str) -> list[Run]:
        """Return what has started on a worker and not ended."""
        return [run for run in self._open.values() if run.worker == worker]


def ready_workers() -> set[str]:
    """Return the names of the workers that have started."""
    return set(state.client.smembers(READY))


def _name(hostname: str) -> str:
    return hostname.partition("@")[0]


@worker_ready.connect
def _record_ready(sender: Any, **_: Any) -> None:
    state.client.sadd(READY, _name(sender.hostname))


@task_prerun.connect
def _record_start(task_id: str, task: Any, **_: Any) -> None:
    started = time.time()
    delivery = task.request.dtimer
    if delivery is None:
        return  # not from the timer
    due_at: datetime = delivery.due_at
    _append(
        event_id=task_id,
        kind=task.name.rpartition(".")[2],
        worker=_name(task.request.hostname),
        due=due_at.timestamp(),
        received=due_at.timestamp() + delivery.lateness,
        started=started,
        redeliveries=delivery.redeliveries,
    )


@task_postrun.connect
def _record_end(task_id: str, task: Any, **signal: Any) -> None:
    if task.request.dtimer is not None:
        _append(event_id=task_id, worker=_name(task.request.hostname), outcome=signal["state"])


def _append(**fields: Any) -> None:
    state.client.rpush(RECORDS, json.dumps(fields))
