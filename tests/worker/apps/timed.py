"""A project with the timer, whose tasks write down when and where they ran."""

import ctypes
import json
import os
import time

from celery import Celery, states
from celery.exceptions import Reject
from celery.worker.strategy import default
from rig.records import record, records  # noqa: F401 - read by the tests

import celery_dtimer
from celery_dtimer import dtimer_task

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    json.loads(os.environ["BROKER_SETTINGS"]),
    broker_transport_options=json.loads(os.environ["BROKER_TRANSPORT_OPTIONS"]),
    broker_connection_retry_on_startup=True,
    dtimer_url=os.environ["DTIMER_URL"],
    dtimer_task_aliases=json.loads(os.environ.get("TASK_ALIASES", "null")),
    dtimer_confirm_timeout=float(os.environ.get("CONFIRM_TIMEOUT", "10")),
    dtimer_takeover=float(os.environ["TAKEOVER"]) if "TAKEOVER" in os.environ else None,
    dtimer_max_events=int(os.environ["MAX_EVENTS"]) if "MAX_EVENTS" in os.environ else None,
    dtimer_unknown_task_patience=float(os.environ.get("UNKNOWN_TASK_PATIENCE", "3600")),
    task_default_queue=os.environ.get("DEFAULT_QUEUE", "celery"),
)
celery_dtimer.install(app)


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


@dtimer_task(bind=True, key="debounced:{name}", on_conflict="postpone", max_wait=3600)
def debounced(self, name, runs=1):
    record(self, "start")
    if self.request.retries + 1 < runs:
        raise self.retry(countdown=0.1)


@dtimer_task(bind=True, misfire="drop", grace=5)
def fresh(self, value=None):
    record(self, "start")
    return value


def regardless(self, task, app, consumer):
    """A strategy that does not look at ``expires``, as those of other packages need not."""
    celerys = default(task, app, consumer)

    def handle(message, *more):
        message.headers["expires"] = None
        celerys(message, *more)

    return handle


@dtimer_task(bind=True, misfire="drop", grace=5, Strategy=regardless)
def gathered(self, value=None):
    record(self, "start")
    return value


@dtimer_task(bind=True, misfire="park", grace=5)
def kept(self, value=None):
    record(self, "start")
    return value


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def chained(self, seconds, value):
    """Posts another task from within a worker's process."""
    record(self, "start")
    return shared.post_in(seconds, value).id


@app.task(bind=True)
def calls(self, countdown):
    """Calls a task as plain Celery does: with takeover, from within a worker's process, that is the timer's."""
    record(self, "start")
    return note.apply_async((countdown,), countdown=countdown).id


@app.task(bind=True, acks_late=True)
def starve(self, seconds):
    """Keeps the interpreter's lock while it sleeps, as careless extensions do while they compute."""
    record(self, "start")
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    record(self, "end")


@app.task(bind=True, acks_late=True)
def paid(self):
    """Succeeds, and is delivered again all the same: the pattern of Celery's own test of its deduplication."""
    record(self, "start")
    self.backend.store_result(self.request.id, "paid", states.SUCCESS)
    raise Reject(requeue=True)


if os.environ.get("KNOWS_NEWCOMER") == "1":

    @app.task(bind=True)
    def newcomer(self):
        record(self, "start")
        return "known"
