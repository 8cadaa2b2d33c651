"""A project whose tasks fail each time that they run, each in another way."""

import json
import os
import signal
import time

from celery import Celery
from celery.exceptions import Reject

import celery_dtimer

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    broker_transport_options=json.loads(os.environ["BROKER_TRANSPORT_OPTIONS"]),
    broker_connection_retry_on_startup=True,
    dtimer_url=os.environ["DTIMER_URL"],
    dtimer_confirm_timeout=60,
    dtimer_max_redeliveries=1,
    dtimer_parked_ttl=float(os.environ["PARKED_TTL"]) if "PARKED_TTL" in os.environ else None,
)
celery_dtimer.install(app)


@app.task(acks_late=True)
def requeue():
    try:
        raise ValueError("no such\norder")
    except ValueError as exc:
        raise Reject(exc, requeue=True) from exc


@app.task(acks_late=True, reject_on_worker_lost=True)
def lose():
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(acks_late=True, acks_on_failure_or_timeout=False, time_limit=0.5)
def outlast():
    time.sleep(60)


@app.task(acks_late=True, acks_on_failure_or_timeout=False)
def fail():
    exc = KeyError("x" * 1000)
    exc.add_note("which is no part of the last line")
    raise exc
