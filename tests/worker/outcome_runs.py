"""Runs rows of the outcome table in a worker of one pool, and tells what became of each event."""

import uuid
from contextlib import suppress

from outcome_table import ANEW, AT_END, AT_START, LEFT, LONG, LOSSES, NOT_RUN, PARKED, RELEASED, RETURNED, ROWS
from rig.waiting import wait_until

from celery_dtimer import State, get_timer
from celery_dtimer.message import StoredMessage, encode
from celery_dtimer.posting.posting import Posting
from celery_dtimer.timer.events import NewEvent

CONCURRENCY = {"prefork": 4, "threads": 8, "solo": 1, "gevent": 20, "eventlet": 20}
SETTLED = 40.0  # seconds; solo runs one task after the other


def outcome_of(rows, info):
    """What became of an event, in the words of the table, by what its task wrote down and where it is at last."""
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
    if len(starts) == 1 and not starts[0]["redelivered"]:
        return AT_START if looks == ["confirmed"] else AT_END
    return f"started {len(starts)} times, redelivered {[row['redeliveries'] for row in starts]}"


class Run:
    """Events of table rows in workers of one pool.

    Args:
        project: The app of ``apps/outcomes.py``.
        start_worker: The rig's.
        pool: The pool's name.
    """

    def __init__(self, project, start_worker, pool):
        self._module, self.app, self.pool = project.module, project.app, pool
        self._start_worker = start_worker
        self.timer = get_timer(self.app)
        self.ids = {}

    def worker(self, *, concurrency=None, queues="celery", **environment):
        environment.setdefault("PATIENCE", "0.3" if self.pool == "solo" else "5")
        return self._start_worker(
            self.pool, concurrency=concurrency or CONCURRENCY[self.pool], queues=queues, env=environment
        )

    def post(self, row, name=None, deed=None):
        event = self.ids.setdefault(name or row.name, str(uuid.uuid4()))
        if row.variant is not None:
            delay = 0.3 if "expires" in row.options else 0
            task = self._module.TASKS[row.variant]
            task.post(row.deed if deed is None else deed, delay=delay, task_id=event, **row.options)
        elif row.name == "task that no worker has known for an hour":
            self.app.send_task("proj.unknown", task_id=event, dtimer=Posting("in", 0))
        else:
            headers = {"task": "proj.late", "id": event}
            bodies = {"a body that can't be decoded": b"{", "a body that is no task call": b"7"}
            payload = b"no message"
            if row.name in bodies:
                payload = encode(StoredMessage(bodies[row.name], "application/json", "utf-8", headers), event, "celery")
            self.timer.shards.of(event).post([NewEvent(event, payload, "in", 0, 20, "celery")])

    def rows(self, name, *events):
        return [
            row
            for row in self._module.records()
            if row["id"] == self.ids[name] and (not events or row["event"] in events)
        ]

    def wait_for(self, name, event="look"):
        wait_until(lambda: self.rows(name, event), f"{event!r} of the task that {name}", SETTLED)

    def settle(self, *leave):
        """Wait until no event moves any more. What does not settle is seen as such by who looks at its outcome."""
        ids = [event for name, event in self.ids.items() if name not in leave]

        def settled():
            infos = [self.timer.peek(event) for event in ids]
            return all(info is None or info.state is State.PARKED for info in infos)

        with suppress(AssertionError):
            wait_until(settled, "an end of all outcomes", SETTLED)

    def peek(self, name):
        return self.timer.peek(self.ids[name])

    def outcome(self, name):
        return outcome_of(self.rows(name), self.peek(name))

    def returned(self, name, worker):
        """The same of an event that waited in the worker when it ended: nothing of it is to be seen."""
        starts = self.rows(name, "start")
        given_back = len(starts) == 1 and starts[0]["worker"] != worker and not starts[0]["redelivered"]
        return RETURNED if given_back and self.outcome(name) == AT_END else self.outcome(name)

    def revoke(self, name, **options):
        self.app.control.revoke(self.ids[name], reply=True, timeout=5, limit=1, **options)


def run_rows(run):
    """All rows at once; returns their outcomes."""
    left = "cancel_consumer, then posted to its queue"
    worker = run.worker(queues="celery,cancelled", MAX_EVENTS="60")
    control = run.app.control
    run.ids["revoked by its id"] = str(uuid.uuid4())
    run.revoke("revoked by its id")
    control.revoke_by_stamped_headers({"cell": ["revoked"]}, reply=True, timeout=5, limit=1)
    control.add_consumer("added", reply=True, timeout=5, limit=1)
    control.cancel_consumer("cancelled", reply=True, timeout=5, limit=1)
    # Without a hub, Celery answers before it has done so.
    wait_until(lambda: "Canceling queue cancelled" in worker.logs(), "the queue to be cancelled")
    for row in ROWS:
        run.post(row)
    for name in ("terminated, acknowledged early", "terminated, acks_late"):
        run.wait_for(name)
        run.revoke(name, terminate=True)
    run.wait_for("terminated by a stamp, acks_late")
    control.revoke_by_stamped_headers({"cell": ["terminated"]}, terminate=True)
    run.settle(left)
    outcomes = {row.name: run.outcome(row.name) for row in ROWS}
    worker.term()
    worker.wait()
    return outcomes


def run_long_rows(run):
    """Those that outlast their lease. The worker would claim its own event again if it lapsed."""
    run.worker(CONFIRM_TIMEOUT="1")
    for row in LONG:
        # The first of a kind takes the token of its rate limit.
        if "limit" in row.name:
            run.post(row, f"{row.name}: the first")
        run.post(row)
    run.settle()
    return {row.name: run.outcome(row.name) for row in LONG}


def run_losses(run):
    """Those that lose their process, each after the last has come to its end."""
    outcomes, worker = {}, None
    for row in LOSSES:
        worker = worker if worker is not None and worker.running else run.worker(CONFIRM_TIMEOUT="1")
        run.post(row)
        run.wait_for(row.name)
        if run.pool != "prefork":
            worker.wait()
            worker = run.worker(CONFIRM_TIMEOUT="1")
        run.settle()
        outcomes[row.name] = run.outcome(row.name)
    return outcomes
