"""sentry-sdk as its page has it, in callers and workers; what it would send is written into a file."""

import json
import logging
import os
from pathlib import Path

import sentry_sdk
from celery import Celery
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport

import celery_dtimer

SENT = Path(__file__).with_name("sent.jsonl")


class Kept(Transport):
    """Sends nothing: a line for each event and transaction."""

    def capture_envelope(self, envelope):
        with SENT.open("a") as file:
            for item in envelope.items:
                if item.type in {"event", "transaction"}:
                    file.write(json.dumps({"is": item.type, **json.loads(item.get_bytes())}) + "\n")


def start_sentry():
    sentry_sdk.init(
        dsn="https://key@sentry.invalid/1",
        transport=Kept,
        traces_sample_rate=1.0,
        integrations=[CeleryIntegration()],
        auto_enabling_integrations=False,
    )


if os.environ["INSTALLED"] == "after":
    start_sentry()
app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(broker_connection_retry_on_startup=True, dtimer_url=os.environ["DTIMER_URL"], dtimer_takeover=0.1)
celery_dtimer.install(app)
if os.environ["INSTALLED"] == "before":
    start_sentry()


@app.task(bind=True)
def traced(self):
    logging.getLogger("shop").warning("a breadcrumb of %s", self.request.id)
    return self.request.dtimer is not None


@app.task(bind=True)
def fail(self):
    logging.getLogger("shop").warning("a breadcrumb of %s", self.request.id)
    raise ValueError("no")


def call():
    """Tasks called in one trace; their ids."""
    with sentry_sdk.start_transaction(name="checkout") as checkout:
        calls = {
            "post_in": traced.post_in(0.2),
            "takeover": traced.apply_async(countdown=0.2),
            "failed": fail.post_in(0.2),
            "failed by takeover": fail.apply_async(countdown=0.2),
        }
    for result in calls.values():
        result.get(timeout=30, propagate=False)
    return {"trace": checkout.trace_id, "ids": {name: result.id for name, result in calls.items()}}
