"""What an app's timer says of its tasks: their names and arguments too, and all of it fit for JSON."""

import json
from datetime import UTC, datetime

import pytest

from celery_dtimer import get_timer
from celery_dtimer.timer.storing.namespace import READ_THROUGH

ETA = datetime(2100, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
OF_THE_TASK = {"task": "note", "args": "(1, 'two')", "kwargs": "{'three': b'3'}"}


@pytest.fixture
def app(make_app, redis_url):
    app = make_app(dtimer_url=redis_url)

    @app.task(name="note")
    def note(*args, **kwargs):
        pass

    return app


@pytest.fixture
def note(app):
    return app.tasks["note"]


def test_peek_shows_the_task_and_is_fit_for_json(app, note):
    result = note.post((1, "two"), {"three": b"3"}, eta=ETA, task_id="x")
    for info in (result.peek(), get_timer(app).peek("x")):
        assert (info.task, info.args, info.kwargs) == tuple(OF_THE_TASK.values())
        assert json.loads(json.dumps(info.as_dict())) == {
            "id": "x",
            "state": "pending",
            "queue": app.conf.task_default_queue,
            "due_at": "2100-01-02T03:04:05.678000+00:00",
            "tags": [],
            "redeliveries": 0,
            "max_redeliveries": 20,
            "holder": None,
            "until": "2100-01-02T03:04:05.678000+00:00",
            "reason": None,
            **OF_THE_TASK,
        }


def test_upcoming_shows_the_tasks_and_their_payloads_only_when_they_are_asked_for(app, note):
    note.post((1, "two"), {"three": b"3"}, eta=ETA, task_id="x")
    [task] = get_timer(app).upcoming()
    assert task.payload is None
    assert json.loads(json.dumps(task.as_dict())) == {
        "id": "x",
        "queue": app.conf.task_default_queue,
        "due_at": "2100-01-02T03:04:05.678000+00:00",
        "tags": [],
        **OF_THE_TASK,
    }
    [task] = get_timer(app).upcoming(payloads=True)
    assert task.payload == get_timer(app).peek("x").payload


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b"\x00no message", (None, "", "")),
        (b"", (None, "", "")),
        (b'1{"h":{"task":["no name"],"argsrepr":null},"p":{}}\n', ("['no name']", "", "{}")),
        (b'1{"h":{"task":null,"argsrepr":7,"kwargsrepr":{"a":[1]}},"p":{}}\n', (None, "7", "{'a': [1]}")),
        (b'1{"h":{},"p":{}}\n', (None, "", "")),
    ],
)
def test_what_is_no_message_or_an_odd_one_is_shown_all_the_same(app, timer, payload, shown):
    timer.post(payload, 60, id="odd")
    [task], info = get_timer(app).upcoming(), get_timer(app).peek("odd")
    assert (task.task, task.args, task.kwargs) == (info.task, info.args, info.kwargs) == shown
    json.dumps([task.as_dict(), info.as_dict()])


def test_the_tasks_of_several_shards_are_shown_on_every_page(make_app, redis_url, expected_keys):
    expected_keys.append("{many:tasks:0}:shards")
    app = make_app(dtimer_url=redis_url, dtimer_namespace="many", dtimer_shards=2)

    @app.task(name="note")
    def note(*args):
        pass

    events = READ_THROUGH + 3
    for number in range(events):
        note.post((number,), delay=60 + number)
    timer = get_timer(app)
    page = timer.upcoming(limit=2, skip=events - 2)
    assert [(task.task, task.args) for task in page] == [("note", f"({n},)") for n in (events - 2, events - 1)]
    for task in timer.upcoming(limit=events):
        timer.cancel(task.id)
