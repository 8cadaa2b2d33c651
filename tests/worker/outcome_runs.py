"""Runs all rows of the outcome table at once in a worker of one pool, and tells what became of each event."""

import uuid
from contextlib import suppress
from dataclasses import dataclass

from outcome_table import (
    ANEW,
    AT_END,
    AT_START,
    LEFT,
    NOT_RUN,
    PARKED,
    RELEASED,
    ROWS,
)
from rig.waiting import wait_until

from celery_dtimer import State, get_timer
from celery_dtimer.message import StoredMessage, encode
from celery_dtimer.posting.producer import Posting

CONCURRENCY = {"prefork": 4, "threads": 8, "solo": 1, "gevent": 20, "eventlet": 20}
SETTLED = 25.0  # seconds; solo runs one task after the other


@dataclass(frozen=True)
class Observed:
    """What became of one event.

    Attributes:
        outcome: In the words of the table.
        rows: What its task wrote down.
        info: Where it is at last: parked, pending, or None.
        status: Its result's.
    """

    outcome: str
    rows: list
    info: object
    status: str

    def starts(self):
        return [row for row in self.rows if row["event"] == "start"]


def outcome_of(rows, info):
    starts = [row for row in rows if row["event"] == "start"]
    looks = [row["state"] for row in rows if row["event"] == "look"]
    if info is not None:
        return {State.PARKED: PARKED, State.PENDING: LEFT}.get(info.state, f"{info.state.name.lower()} still")
    if not starts:
        return NOT_RUN
    if len(starts) == 2 and starts[1]["retries"] == 1:
        return ANEW
    if len(starts) == 2 and starts[1]["redelivered"] and starts[1]["redeliveries"] == 1:
        return RELEASED
    if len(starts) == 1:
        return AT_START if looks == ["confirmed"] else AT_END
    return f"ran {len(starts)} times"


class Matrix:
    """Posts the rows, meddles where a row says so, and waits until nothing moves any more."""

    def __init__(self, project, start_worker, pool):
        self._module, self._app, self._pool = project.module, project.app, pool
        self._timer = get_timer(self._app)
        self._start_worker = start_worker
        self._ids = {row.name: str(uuid.uuid4()) for row in ROWS}

    def run(self):
        worker = self._start_worker(
            self._pool,
            concurrency=CONCURRENCY[self._pool],
            queues="celery,cancelled",
            env={"MAX_EVENTS": "60", "PATIENCE": "0.3" if self._pool == "solo" else "5"},
        )
        control = self._app.control
        control.revoke(self._ids["revoked by its id"], reply=True, timeout=5, limit=1)
        control.revoke_by_stamped_headers({"cell": ["revoked"]}, reply=True, timeout=5, limit=1)
        control.add_consumer("added", reply=True, timeout=5, limit=1)
        control.cancel_consumer("cancelled", reply=True, timeout=5, limit=1)
        # Without a hub, Celery answers before it has done so.
        worker.wait_for_log("Canceling queue cancelled", timeout=10)
        for row in ROWS:
            self._post(row)
        for name in ("terminated, acknowledged early", "terminated, acks_late"):
            self._terminate(self._ids[name])
        with suppress(AssertionError):  # what did not settle is seen as such, by its own test
            wait_until(self._settled, "an end of all outcomes", SETTLED)
        worker.term()
        worker.wait()
        observed = {name: self._observe(event) for name, event in self._ids.items()}
        counts = self._timer.count()
        return observed, counts, worker.logs()

    def _post(self, row):
        event = self._ids[row.name]
        if row.variant is not None:
            delay = 0.3 if "expires" in row.options else 0
            self._module.TASKS[row.variant].post(row.deed, delay=delay, task_id=event, **row.options)
        elif row.name == "unknown task":
            self._app.send_task("proj.unknown", task_id=event, dtimer=Posting("in", 0))
        else:
            headers = {"task": "proj.late", "id": event}
            bodies = {"a body that can't be decoded": b"{", "a body that is no task call": b"7"}
            payload = b"no message"
            if row.name in bodies:
                payload = encode(StoredMessage(bodies[row.name], "application/json", "utf-8", headers), event, "celery")
            self._timer.post(payload, 0, id=event, queue="celery")

    def _terminate(self, event):
        wait_until(lambda: any(row["id"] == event for row in self._records("look")), "the task to run", SETTLED)
        self._app.control.revoke(event, terminate=True, reply=True, timeout=5, limit=1)

    def _records(self, event="start"):
        return [row for row in self._module.records() if row["event"] == event]

    def _settled(self):
        left = set(self._ids.values()) - {self._ids["cancel_consumer, then posted to its queue"]}
        infos = [self._timer.peek(event) for event in left]
        return all(info is None or info.state is State.PARKED for info in infos)

    def _observe(self, event):
        rows = [row for row in self._module.records() if row["id"] == event]
        info = self._timer.peek(event)
        return Observed(outcome_of(rows, info), rows, info, self._app.AsyncResult(event).status)
