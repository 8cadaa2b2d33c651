"""opentelemetry-instrumentation-celery: a fired task's span is a child of its post's, whatever is called first."""

import json

import pytest
from rig.waiting import wait_until


@pytest.mark.parametrize("order", ["before", "after"])
def test_the_span_of_a_fired_task_is_a_child_of_its_posts(worker_app, start_worker, run_apart, order):
    # Before: the pool's processes are instrumented when they start, as OpenTelemetry's page has it.
    start_worker(pool="prefork")
    called = run_apart("result = proj.call()")
    assert called["ran"] == {"post_in": [called["trace"], True], "takeover": [called["trace"], True]}

    def written():
        rows = [json.loads(line) for line in (worker_app.folder / "spans.jsonl").read_text("utf-8").splitlines()]
        return rows if len([row for row in rows if row["kind"] == "CONSUMER"]) == len(called["ids"]) else None

    spans = wait_until(written, "the spans of the worker")
    [checkout] = [span for span in spans if span["name"] == "checkout"]
    for task_id in called["ids"]:
        of_task = [span for span in spans if span["attributes"].get("messaging.message.id") == task_id]
        posted, ran = sorted(of_task, key=lambda span: span["kind"] == "CONSUMER")
        assert (posted["name"], posted["kind"], posted["parent"]) == (
            "apply_async/proj.traced",
            "PRODUCER",
            checkout["id"],
        )
        assert (ran["name"], ran["kind"], ran["parent"]) == ("run/proj.traced", "CONSUMER", posted["id"])
        assert ran["attributes"]["celery.state"] == "SUCCESS"
