"""A project whose signals and spans can be looked at."""

import json
import os

from celery import Celery, signals
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import celery_dtimer

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    broker_transport_options=json.loads(os.environ["BROKER_TRANSPORT_OPTIONS"]),
    broker_connection_retry_on_startup=True,
    dtimer_url=os.environ["DTIMER_URL"],
    worker_send_task_events=True,
    task_send_sent_event=True,
)
celery_dtimer.install(app)

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
instrumentor = CeleryInstrumentor()
if not instrumentor.is_instrumented_by_opentelemetry:
    instrumentor.instrument(tracer_provider=provider)
tracer = trace.get_tracer("proj", tracer_provider=provider)

seen = []
SIGNALS = (
    "before_task_publish",
    "after_task_publish",
    "task_received",
    "task_prerun",
    "task_postrun",
    "task_success",
    "task_failure",
    "task_retry",
    "task_revoked",
    "task_rejected",
    "task_unknown",
)


def watch(name):
    def receiver(sender=None, **fields):
        request = fields.get("request")
        headers = fields.get("headers") or {}
        task_id = fields.get("task_id") or getattr(request, "id", None) or headers.get("id")
        seen.append([name, task_id or getattr(getattr(sender, "request", None), "id", None)])

    getattr(signals, name).connect(receiver, weak=False)
    return receiver


receivers = [watch(name) for name in SIGNALS]


def spans():
    return [
        {
            "name": span.name,
            "trace": span.context.trace_id,
            "id": span.context.span_id,
            "parent": span.parent and span.parent.span_id,
            "kind": span.kind.name,
        }
        for span in exporter.get_finished_spans()
    ]


@app.task
def add(x, y):
    return x + y


@app.task(name="look")
def look():
    """What this process has seen so far; in a pool without processes of its own, that is the whole worker."""
    return {"signals": seen, "spans": [{**span, "trace": str(span["trace"])} for span in spans()]}
