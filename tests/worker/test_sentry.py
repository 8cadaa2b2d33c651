"""Sentry sees a post as it sees a call of plain Celery: a span for the publishing, and one trace to the task."""

from pathlib import Path

import pytest


@pytest.fixture
def app_file():
    return Path(__file__).parent / "apps" / "sentry_shop.py"


@pytest.fixture
def worker_app(project_apart):
    return project_apart


def test_a_post_has_a_publish_span_and_its_task_runs_in_the_callers_trace(start_worker, run_apart):
    start_worker(pool="threads")
    result = run_apart("result = proj.call()")
    assert result["ran"] == {
        "delay": [result["trace"], False, 0],
        "post_in": [result["trace"], True, 0],
        "takeover": [result["trace"], True, 0],
        "retry": [result["trace"], True, 1],
    }
    published = [(name, data) for op, name, data in result["spans"] if op == "queue.publish"]
    assert [name for name, _ in published] == ["proj.traced"] * 3 + ["proj.again"]
    assert [data["messaging.message.id"] for _, data in published] == list(result["ids"].values())
    assert {data["messaging.destination.name"] for _, data in published} == {"celery"}
    assert {data["messaging.system"] for _, data in published} == {"redis"}
