"""A project with the timer, whose tasks write down when and where they ran."""

import json
import os
import time

import redis
from celery import Celery

import celery_dtimer
from celery_dtimer import dtimer_task

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    json.loads(os.environ["BROKER_SETTINGS"]),
    broker_transport_options=json.loads(os.environ["BROKER_TRANSPORT_OPTIONS"]),
    broker_connection_retry_on_startup=True,
    dtimer_url=os.environ["DTIMER_URL"],
    dtimer_confirm_timeout=float(os.environ.get("CONFIRM_TIMEOUT", "10")),
    dtimer_max_events=int(os.environ["MAX_EVENTS"]) if "MAX_EVENTS" in os.environ else None,
    task_default_queue=os.environ.get("DEFAULT_QUEUE", "celery"),
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
    """Append what happened; read it back with ``records()``."""
    seen = task.request.dtimer
    row = {
        "event": event,
        "at": time.time(),
        "id": task.request.id,
        "pid": os.getpid(),
        "worker": task.request.hostname,
        "retries": task.request.retries,
        "redelivered": task.request.delivery_info["redelivered"],
        "due": seen and seen.due_at.timestamp(),
        "redeliveries": seen and seen.redeliveries,
        "max_redeliveries": seen and seen.max_redeliveries,
        "lateness": seen and seen.lateness,
    }
    records_client().rpush(RECORDS, json.dumps(row))


def records():
    """All that was written down, in the order of writing."""
    return [json.loads(row) for row in records_client().lrange(RECORDS, 0, -1)]


@app.task(bind=True)
def note(self, *args, **kwargs):
    record(self, "start")
    return [list(args), kwargs]


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def nap(self, seconds):
    record(self, "start")
    time.sleep(seconds)
    record(self, "end")
    return seconds


@app.task(bind=True)
def early_nap(self, seconds):
    """As Celery does by default: acknowledged before it runs."""
    record(self, "start")
    time.sleep(seconds)
    record(self, "end")


@app.task(bind=True, max_retries=3)
def stubborn(self, runs, countdown):
    record(self, "start")
    if self.request.retries + 1 < runs:
        raise self.retry(countdown=countdown)
    return self.request.retries


@dtimer_task(bind=True)
def shared(self, value):
    record(self, "start")
    return value


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def chained(self, seconds, value):
    """Posts another task from within a worker's process."""
    record(self, "start")
    return shared.post_in(seconds, value).id


if os.environ.get("KNOWS_NEWCOMER") == "1":

    @app.task(bind=True)
    def newcomer(self):
        record(self, "start")
        return "known"
