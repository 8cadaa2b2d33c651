"""opentelemetry-instrumentation-celery as its page has it, in callers and workers; spans are written into a file."""

import json
import os
from pathlib import Path

from celery import Celery
from celery.signals import worker_process_init
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

import celery_dtimer

SPANS = Path(__file__).with_name("spans.jsonl")


class Written(SpanExporter):
    """A line for each span."""

    def export(self, spans):
        with SPANS.open("a") as file:
            for span in spans:
                row = {
                    "name": span.name,
                    "kind": span.kind.name,
                    "trace": span.context.trace_id,
                    "id": span.context.span_id,
                    "parent": span.parent and span.parent.span_id,
                    "attributes": dict(span.attributes),
                }
                file.write(json.dumps(row) + "\n")
        return SpanExportResult.SUCCESS


def trace_all(**_):
    trace.set_tracer_provider(TracerProvider())
    trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(Written()))
    CeleryInstrumentor().instrument()


if os.environ["INSTALLED"] == "after":
    trace_all()
else:
    worker_process_init.connect(trace_all, weak=False)
app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(broker_connection_retry_on_startup=True, dtimer_url=os.environ["DTIMER_URL"], dtimer_takeover=0.1)
celery_dtimer.install(app)


@app.task(bind=True)
def traced(self):
    return [format(trace.get_current_span().get_span_context().trace_id, "x"), self.request.dtimer is not None]


def call():
    """Tasks called in one trace, and what they saw of it."""
    if os.environ["INSTALLED"] == "before":
        trace_all()
    with trace.get_tracer("shop").start_as_current_span("checkout") as span:
        calls = {"post_in": traced.post_in(0.2), "takeover": traced.apply_async(countdown=0.2)}
    return {
        "trace": format(span.get_span_context().trace_id, "x"),
        "ids": [result.id for result in calls.values()],
        "ran": {name: result.get(timeout=30) for name, result in calls.items()},
    }
