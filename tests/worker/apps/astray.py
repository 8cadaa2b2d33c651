"""Tasks that retry, replace themselves or look at their own eta, in an app whose queues share a topic exchange."""

import json
import os
from datetime import UTC, datetime, timedelta

from celery import Celery, chain, group
from kombu import Exchange, Queue
from rig.records import RECORDS, records, records_client  # noqa: F401 - read by the tests

import celery_dtimer

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
media = Exchange("media", type="topic")
app.conf.update(
    json.loads(os.environ["BROKER_SETTINGS"]),
    broker_transport_options=json.loads(os.environ["BROKER_TRANSPORT_OPTIONS"]),
    broker_connection_retry_on_startup=True,
    dtimer_url=os.environ["DTIMER_URL"],
    dtimer_takeover=float(os.environ["TAKEOVER"]) if "TAKEOVER" in os.environ else None,
    dtimer_max_payload=4096,
    task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_max": 0},
    task_queues=[
        Queue("celery"),
        Queue("heavy"),
        Queue("video", media, routing_key="media.video.#"),
        Queue("audit", media, routing_key="media.#"),
    ],
    timezone=os.environ.get("ZONE", "UTC"),
)
if "WITHOUT_TIMER" not in os.environ:
    celery_dtimer.install(app)

#: name -> the options of a retry.
RETRIES = {
    "countdown": lambda: {"countdown": 0.1},
    "now": lambda: {"countdown": 0},
    "eta": lambda: {"eta": datetime.now(UTC) + timedelta(seconds=0.1)},
    "eta as text": lambda: {"eta": (datetime.now(UTC) + timedelta(seconds=0.1)).isoformat()},
    "countdown that is a bool": lambda: {"countdown": True},
    "too large": lambda: {"countdown": 0.1, "kwargs": {"ballast": os.urandom(8192).hex()}},
    "to its own queue": lambda: {"countdown": 0.1, "queue": "video"},
    "to heavy": lambda: {"countdown": 0.1, "queue": "heavy"},
    "to heavy now": lambda: {"countdown": 0, "queue": "heavy"},
    "by exchange and key": lambda: {"countdown": 0.1, "exchange": "media", "routing_key": "media.video.x"},
}


def noted(task, **more):
    """Write down that the task runs, and what it can see of its delivery; not every worker here has the timer."""
    delivery = getattr(task.request, "dtimer", None)
    row = {"eta": task.request.eta, "queue": delivery and delivery.queue, "retries": task.request.retries, **more}
    records_client().rpush(RECORDS, json.dumps(row))


@app.task(bind=True, max_retries=3)
def retries(self, how, ballast=None):
    noted(self, how=how)
    if self.request.retries < 1:
        raise self.retry(**RETRIES[how]())
    return how


@app.task(bind=True)
def heavy(self, how):
    noted(self, how=how)
    return f"heavy {how}"


@app.task(bind=True)
def front(self, how):
    noted(self, how=how)
    there = heavy.si(how).set(queue="heavy")
    if how == "replace":
        raise self.replace(there)
    if how == "replace by a chain":
        raise self.replace(chain(there, there))
    if how == "replace by a group":
        raise self.replace(group(there, there))
    if how == "replace later":
        raise self.replace(heavy.si(how).set(queue="heavy", countdown=0.2))
    heavy.apply_async((how,), queue="heavy", task_id=self.request.id)


@app.task(bind=True)
def look(self):
    noted(self)
    return [self.request.eta, bool(self.request.eta)]
