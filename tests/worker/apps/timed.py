"""A project with the timer, whose tasks write down when and where they ran."""

import json
import os
import time

from celery import Celery
from rig.records import record, records  # noqa: F401 - read by the tests

import celery_dtimer
from celery_dtimer import dtimer_task

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    json.loads(os.environ["BROKER_SETTINGS"]),
    broker_transport_options=json.loads(os.environ["BROKER_TRANSPORT_OPTIONS"]),
    broker_connection_retry_on_startup=True,
    dtimer_url=os.environ["DTIMER_URL"],
    dtimer_confirm_timeout=float(os.environ.get("CONFIRM_TIMEOUT", "10")),
    dtimer_takeover=float(os.environ["TAKEOVER"]) if "TAKEOVER" in os.environ else None,
    dtimer_max_events=int(os.environ["MAX_EVENTS"]) if "MAX_EVENTS" in os.environ else None,
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


if os.environ.get("KNOWS_NEWCOMER") == "1":

    @app.task(bind=True)
    def newcomer(self):
        record(self, "start")
        return "known"
