"""A project whose task ends in every way that a task can end, and writes down what it saw of its own event."""

import gc
import json
import os
import signal
import sys
import time

from celery import Celery
from celery.exceptions import Ignore, Reject
from rig.records import record, records  # noqa: F401 - read by the tests

import celery_dtimer

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    broker_transport_options=json.loads(os.environ["BROKER_TRANSPORT_OPTIONS"]),
    broker_connection_retry_on_startup=True,
    result_backend_transport_options=json.loads(os.environ.get("RESULT_BACKEND_OPTIONS", "{}")),
    dtimer_url=os.environ["DTIMER_URL"],
    dtimer_confirm_timeout=float(os.environ.get("CONFIRM_TIMEOUT", "60")),
    dtimer_unknown_task_patience=1.0,
    dtimer_max_events=int(os.environ["MAX_EVENTS"]) if "MAX_EVENTS" in os.environ else None,
    worker_pool_restarts=True,
    worker_soft_shutdown_timeout=float(os.environ.get("SOFT_SHUTDOWN", "0")),
    worker_cancel_long_running_tasks_on_connection_loss=os.environ.get("CANCEL_ON_LOSS") == "1",
)
celery_dtimer.install(app)
if os.environ.get("COLLECT_GARBAGE") == "0":
    gc.disable()


def look(task):
    """Write down whether the event is confirmed while its task runs: an early ack takes some milliseconds."""
    patience = 0.2 if task.acks_late else float(os.environ["PATIENCE"])
    end = time.monotonic() + patience
    timer = celery_dtimer.get_timer(app)
    while (info := timer.peek(task.request.id)) is not None and time.monotonic() < end:
        time.sleep(0.02)
    record(task, "look", state="confirmed" if info is None else info.state.name.lower())


def spin(task, seconds):
    """Take a while, and notice a soft time limit at once."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)


def fail(task):
    raise ValueError("as the table says")


def reject(task, requeue):
    raise Reject("as the table says", requeue=requeue)


def ignore(task):
    raise Ignore("as the table says")


def retry(task, countdown):
    raise task.retry(countdown=countdown)


def lose(task):
    os.kill(os.getpid(), signal.SIGKILL)


def leave(task):
    sys.exit(3)


DEEDS = {deed.__name__: deed for deed in (spin, fail, reject, ignore, retry, lose, leave)}


def act(self, deed=None, *args):
    record(self, "start")
    if self.request.delivery_info["redelivered"] or self.request.retries:
        return "again"
    look(self)
    if deed is not None:
        DEEDS[deed](self, *args)
    record(self, "end")
    return "done"


LATE = {"acks_late": True}
VARIANTS = {
    "early": {},
    "late": LATE,
    "late_lost": {**LATE, "reject_on_worker_lost": True},
    "late_kept": {**LATE, "acks_on_failure_or_timeout": False},
    "late_kept_on_failure": {**LATE, "acks_on_failure": False},
    "late_kept_on_timeout": {**LATE, "acks_on_timeout": False},
    "early_limited": {"rate_limit": "30/m"},
    "late_limited": {**LATE, "rate_limit": "30/m"},
    "late_slow": {**LATE, "rate_limit": "2/m"},
}
TASKS = {
    name: app.task(bind=True, name=f"proj.{name}", **options)(
        type(act)(act.__code__, globals(), name, act.__defaults__)
    )
    for name, options in VARIANTS.items()
}
