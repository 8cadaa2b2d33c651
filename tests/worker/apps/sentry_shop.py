"""Sentry in Django's usual layout: the app has the timer already when the settings start Sentry."""

import os

import sentry_sdk
from celery import Celery
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport

import celery_dtimer

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(broker_connection_retry_on_startup=True, dtimer_url=os.environ["DTIMER_URL"], dtimer_takeover=0.1)
celery_dtimer.install(app)

sent = []


class Kept(Transport):
    """Sends nothing."""

    def capture_envelope(self, envelope):
        sent.extend(item.get_transaction_event() for item in envelope.items if item.get_transaction_event())


sentry_sdk.init(
    dsn="https://key@sentry.invalid/1",
    transport=Kept,
    traces_sample_rate=1.0,
    integrations=[CeleryIntegration()],
    auto_enabling_integrations=False,
)


@app.task(bind=True)
def traced(self):
    """The trace that it runs in, whether the timer fired it, and its retries."""
    return [sentry_sdk.get_current_span().trace_id, self.request.dtimer is not None, self.request.retries]


@app.task(bind=True)
def again(self):
    if not self.request.retries:
        raise self.retry(countdown=0.2)
    return [sentry_sdk.get_current_span().trace_id, self.request.dtimer is not None, self.request.retries]


def call():
    """Each way of a call, in one trace; and the spans that Sentry would have been sent."""
    with sentry_sdk.start_transaction(name="checkout") as checkout:
        results = {
            "delay": traced.delay(),
            "post_in": traced.post_in(0.2),
            "takeover": traced.apply_async(countdown=0.2),
            "retry": again.post_in(0.2),
        }
    [transaction] = sent
    return {
        "trace": checkout.trace_id,
        "ran": {name: result.get(timeout=30) for name, result in results.items()},
        "ids": {name: result.id for name, result in results.items()},
        "spans": [[span["op"], span["description"], span["data"]] for span in transaction["spans"]],
    }
