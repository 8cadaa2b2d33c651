"""A project with the timer, whose tasks write down when they ran by a clock that nobody sets."""

import json
import os
import time

import redis
from celery import Celery

import celery_dtimer

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    dtimer_url=os.environ["DTIMER_URL"],
    dtimer_confirm_timeout=float(os.environ.get("CONFIRM_TIMEOUT", "10")),
    dtimer_takeover=0.2,
)
celery_dtimer.install(app)

RECORDS = "records"
_clients = {}


def records_client():
    """One connection a process: a pool child must not use its parent's."""
    if os.getpid() not in _clients:
        _clients[os.getpid()] = redis.Redis.from_url(os.environ["RESULT_BACKEND"])
    return _clients[os.getpid()]


def record(task, event):
    """Append what happened; ``monotonic`` is the machine's, the same for all processes."""
    seen = task.request.dtimer
    row = {
        "event": event,
        "monotonic": time.monotonic(),
        "wall": time.time(),
        "id": task.request.id,
        "worker": task.request.hostname,
        "due": seen and seen.due_at.timestamp(),
        "lateness": seen and seen.lateness,
        "redeliveries": seen and seen.redeliveries,
    }
    records_client().rpush(RECORDS, json.dumps(row))


def records():
    """All that was written down, in the order of writing."""
    return [json.loads(row) for row in records_client().lrange(RECORDS, 0, -1)]


@app.task(bind=True)
def note(self, value=None):
    record(self, "start")
    return value


@app.task(bind=True, acks_late=True)
def nap(self, seconds):
    record(self, "start")
    time.sleep(seconds)
    record(self, "end")


@app.task(bind=True)
def stubborn(self, runs, countdown):
    record(self, "start")
    if self.request.retries + 1 < runs:
        raise self.retry(countdown=countdown)
    return self.request.retries


@app.task(bind=True)
def calls(self, countdown):
    """Calls a task with a countdown from within a worker, which takeover gives to the timer."""
    record(self, "start")
    return note.apply_async((countdown,), countdown=countdown).id
