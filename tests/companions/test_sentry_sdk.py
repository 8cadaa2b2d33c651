"""sentry-sdk: transactions, breadcrumbs and errors of fired tasks, in the trace of the caller."""

import json

import pytest
from rig.waiting import wait_until


@pytest.fixture
def sent(worker_app):
    """Waits for so many transactions and events; returns all, by kind."""

    def wait(transactions, events):
        file = worker_app.folder / "sent.jsonl"

        def enough():
            rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
            by_kind = {kind: [row for row in rows if row["is"] == kind] for kind in ("transaction", "event")}
            return by_kind if [len(found) for found in by_kind.values()] >= [transactions, events] else None

        found = wait_until(enough, "what Sentry is sent", 20)
        return found["transaction"], found["event"]

    return wait


@pytest.mark.parametrize(("order", "pool"), [("before", "threads"), ("after", "prefork")])
def test_a_fired_task_is_a_transaction_in_its_callers_trace_with_breadcrumbs_of_its_own(
    start_worker, run_apart, sent, order, pool
):
    start_worker(pool=pool)
    called = run_apart("result = proj.call()")
    transactions, events = sent(5, 2)
    [checkout] = [each for each in transactions if each["transaction"] == "checkout"]
    published = {
        span["data"]["messaging.message.id"]: span for span in checkout["spans"] if span["op"] == "queue.publish"
    }
    assert set(published) == set(called["ids"].values())
    ran = {}
    for each in transactions:
        for span in each["spans"]:
            if span["op"] == "queue.process":
                ran[span["data"]["messaging.message.id"]] = (each, span)
    assert set(ran) == set(called["ids"].values())
    submitted = {span["span_id"] for span in checkout["spans"] if span["op"] == "queue.submit.celery"}
    for transaction, process in ran.values():
        trace = transaction["contexts"]["trace"]
        assert (trace["op"], trace["trace_id"]) == ("queue.task.celery", called["trace"])
        assert trace["parent_span_id"] in submitted
        # From the post to the run, as for a countdown of Celery's: the delay is a part of it.
        assert process["data"]["messaging.message.receive.latency"] >= 200
        assert process["data"]["messaging.destination.name"] == "celery"
    errors = {event["tags"]["celery_task_id"]: event for event in events}
    assert set(errors) == {called["ids"]["failed"], called["ids"]["failed by takeover"]}
    for task_id, event in errors.items():
        assert event["exception"]["values"][-1]["value"] == "no"
        assert event["contexts"]["trace"]["trace_id"] == called["trace"]
        assert event["extra"]["celery-job"]["task_name"] == "proj.fail"
        crumbs = [crumb["message"] for crumb in event["breadcrumbs"]["values"] if crumb["category"] == "shop"]
        assert crumbs == [f"a breadcrumb of {task_id}"]
