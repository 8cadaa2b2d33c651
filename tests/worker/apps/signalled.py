"""A project that writes down every signal of the timer, beside a receiver of each that raises."""

import json
import os

from celery import Celery
from celery.exceptions import Reject
from rig.records import records_client

import celery_dtimer
from celery_dtimer import signals

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    json.loads(os.environ["BROKER_SETTINGS"]),
    broker_transport_options=json.loads(os.environ["BROKER_TRANSPORT_OPTIONS"]),
    broker_connection_retry_on_startup=True,
    dtimer_url=os.environ["DTIMER_URL"],
    dtimer_confirm_timeout=float(os.environ.get("CONFIRM_TIMEOUT", "10")),
    dtimer_unknown_task_patience=float(os.environ.get("UNKNOWN_TASK_PATIENCE", "3600")),
)
celery_dtimer.install(app)

SIGNALS = [getattr(signals, name) for name in signals.__all__]


def write_down(signal, sender, **fields):
    assert sender is app
    records_client().rpush("signals", json.dumps({"signal": signal.name, **fields}, default=str))


def fail(signal, **fields):
    if signal is not signals.event_posted and signal is not signals.event_cancelled:
        # It would end the thread that sends it.
        raise SystemExit(f"out of {signal.name}") if signal is not signals.event_fired else OSError("as planned")
    raise OSError("as planned")


for each in SIGNALS:
    each.connect(write_down)
    each.connect(fail)


def seen(event_id=None):
    rows = [json.loads(row) for row in records_client().lrange("signals", 0, -1)]
    return [row for row in rows if event_id in (None, row["id"])]


@app.task
def note():
    return "noted"


@app.task(acks_late=True)
def refuse():
    raise Reject("as planned", requeue=False)


@app.task(bind=True, acks_late=True)
def requeue(self, times):
    if self.request.dtimer.redeliveries < times:
        raise Reject("as planned", requeue=True)
