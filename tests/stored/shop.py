"""The project whose stored tasks are kept: what its tasks are called stays as it is."""

import json
import os
import time

import celery
from celery.exceptions import Reject
from rig.records import record, records  # noqa: F401 - read by the tests

import celery_dtimer

app = celery.Celery("shop", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    json.loads(os.environ["BROKER_SETTINGS"]),
    broker_transport_options=json.loads(os.environ["BROKER_TRANSPORT_OPTIONS"]),
    dtimer_url=os.environ["DTIMER_URL"],
)
celery_dtimer.install(app)


@app.task(bind=True, name="shop.remind", acks_late=True)
def remind(self, order, *, text="", sleep=0.0):
    record(self, "start", order=order, text=text)
    if sleep and not self.request.delivery_info["redelivered"]:
        time.sleep(sleep)
    return order


@app.task(bind=True, name="shop.charge", acks_late=True)
def charge(self, order):
    record(self, "start", order=order)
    if os.environ.get("BROKEN"):
        raise Reject("no such card", requeue=False)
    return order


@app.task(bind=True, name="shop.report", acks_late=True)
def report(self, order):
    record(self, "start", order=order)
    return order


@app.task(bind=True, name="shop.retried", max_retries=3)
def retried(self, order):
    record(self, "start", order=order)
    if not self.request.retries:
        raise self.retry(countdown=3_000_000_000)
    return order
