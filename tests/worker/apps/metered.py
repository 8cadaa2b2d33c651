"""A project whose workers serve metrics, and make OpenTelemetry's too."""

import json
import os

from celery import Celery
from celery.exceptions import Reject
from rig.records import record, records  # noqa: F401 - read by the tests

import celery_dtimer

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    json.loads(os.environ["BROKER_SETTINGS"]),
    broker_transport_options=json.loads(os.environ["BROKER_TRANSPORT_OPTIONS"]),
    broker_connection_retry_on_startup=True,
    dtimer_url=os.environ["DTIMER_URL"],
    dtimer_metrics_port=int(os.environ["METRICS_PORT"]) if "METRICS_PORT" in os.environ else None,
    task_create_missing_queues=True,
)
celery_dtimer.install(app)

if "OTEL" in os.environ:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from celery_dtimer.operating.otel import instrument

    reader = InMemoryMetricReader()
    instrument(app, MeterProvider([reader]), gauges=True)

    @app.task
    def look():
        """What the instruments of this process have measured."""
        data = json.loads(reader.get_metrics_data().to_json())
        [scope] = data["resource_metrics"][0]["scope_metrics"]
        return {metric["name"]: metric["data"]["data_points"] for metric in scope["metrics"]}


@app.task(bind=True)
def note(self):
    record(self, "start", queue=self.request.dtimer.queue)


@app.task(bind=True, acks_late=True)
def refuse(self):
    record(self, "start", queue=self.request.dtimer.queue)
    raise Reject("as planned", requeue=False)


@app.task(bind=True, acks_late=True)
def requeue(self):
    record(self, "start", queue=self.request.dtimer.queue)
    if not self.request.dtimer.redeliveries:
        raise Reject("as planned", requeue=True)
