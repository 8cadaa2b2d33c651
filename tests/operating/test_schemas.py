"""The JSON of every command is what docs/schemas says, with a real app, its Redis and a worker."""

import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from celery_dtimer import get_timer
from celery_dtimer.operating.cli import dtimer

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
PAGE = SCHEMAS.parent / "reference" / "cli.md"

CHECKER = jsonschema.FormatChecker(formats=())


@CHECKER.checks("date-time", raises=ValueError)
def is_instant(value):
    return not isinstance(value, str) or datetime.fromisoformat(value).utcoffset() is not None


#: The schema, the command and its arguments, and its status. They run in this order, in one scene.
CASES = [
    ("upcoming", ["upcoming"], 0),
    ("peek", ["peek", "later"], 0),
    ("peek", ["peek", "leased"], 0),
    ("peek", ["peek", "parked 1"], 0),
    ("peek", ["peek", "nobody"], 1),
    ("post", ["post", "proj.note", "--delay", "3600", "--id", "posted"], 0),
    ("move", ["move", "posted", "--delay", "7200"], 0),
    ("move", ["move", "leased", "--delay", "7200"], 1),
    ("move", ["move", "posted", "--eta", "2100-01-01", "--dry-run"], 0),
    ("cancel", ["cancel", "leased", "--dry-run"], 1),
    ("run-now", ["run-now", "posted", "--dry-run"], 0),
    ("run-now", ["run-now", "nobody"], 1),
    ("run-now", ["run-now", "held"], 0),
    ("cancel", ["cancel", "parked 1"], 0),
    ("cancel", ["cancel", "nobody"], 1),
    ("change-many", ["move", "--task", "proj.none", "--delay", "7200", "--yes"], 0),
    ("change-many", ["cancel", "--tag", "none", "--dry-run"], 0),
    ("hold", ["hold", "-Q", "elsewhere", "--task", "proj.note"], 0),
    ("holds", ["holds"], 0),
    ("catch-up", ["catch-up"], 0),
    ("catch-up", ["catch-up", "500", "--why", "the database is slow"], 0),
    ("catch-up", ["catch-up", "default"], 0),
    ("catch-up", ["catch-up", "default"], 1),
    ("stats", ["stats"], 0),
    ("metrics", ["metrics"], 0),
    ("forecast", ["forecast"], 0),
    ("top", ["top", "--once"], 0),
    ("doctor", ["doctor"], 1),
    ("doctor-live", ["doctor", "--live", "-d", "WORKER"], 0),
    ("resume", ["resume", "--all", "--yes"], 0),
    ("resume", ["resume", "-Q", "celery"], 1),
    ("parked", ["parked"], 0),
    ("replay", ["replay", "parked 2", "nobody", "--dry-run"], 1),
    ("replay", ["replay", "parked 2", "--delay", "3600"], 0),
    ("drop", ["drop", "--all", "--yes"], 0),
    ("adopt", ["adopt"], 0),
    ("export-line", ["export", "--parked"], 0),
    ("export", ["export", "events.jsonl"], 0),
    ("import", ["import", "events.jsonl"], 0),
    ("import", ["import", "broken.jsonl"], 1),
]


def schema_of(name):
    schema = json.loads((SCHEMAS / f"{name}.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


def closed(schema):
    """The same schema without room for a field that it does not name: readers may meet new ones, and this test not."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(each) for name, each in schema.items()}
    return {"additionalProperties": False, **made} if isinstance(schema.get("properties"), dict) else made


@pytest.fixture
def scene(worker_app, start_worker, redis_client, monkeypatch, tmp_path):
    """A worker, and tasks in every state; the commands are typed in an empty folder."""
    worker = start_worker(pool="threads", name="one")
    note, timer = worker_app.module.note, get_timer(worker_app.app)
    store = timer.shards[0]
    note.post((1, "two"), {"three": 3}, eta=datetime(2100, 1, 2, tzinfo=UTC), task_id="later")
    note.post((), delay=3600, task_id="held", queue="elsewhere")
    note.apply_async(countdown=3600)
    for task_id in ("parked 1", "parked 2", "parked 3", "leased"):
        note.post((1,), delay=0, task_id=task_id, queue="elsewhere")
        where = {"listener": "l", "holder": "h", "nonce": "n", "room": 1, "lease_ms": 60_000, "ahead_ms": 1000}
        deliveries = store.read_claim(store.ask(store.claim(["elsewhere"], **where)), ["elsewhere"]).deliveries
        if task_id != "leased":
            store.ask(store.park("elsewhere", deliveries, "no worker knows it"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.jsonl").write_text("nonsense\n")
    yield worker
    redis_client.flushdb()


def test_the_json_of_every_command_is_what_its_schema_says(scene, quick):
    for name, arguments, status in CASES:
        shown = quick(*(scene.hostname() if each == "WORKER" else each for each in arguments), "--json")
        told = f"{arguments}: {shown.stdout}{shown.stderr}"
        assert shown.exit_code == status, told
        assert shown.stdout.strip(), told
        for line in shown.stdout.splitlines():
            try:
                jsonschema.validate(json.loads(line), closed(schema_of(name)), format_checker=CHECKER)
            except (ValueError, jsonschema.ValidationError) as exc:
                pytest.fail(f"{told}\n{exc}")


def test_every_command_has_a_schema_and_a_case_and_the_page_links_it():
    tried = {arguments[0] for _, arguments, _ in CASES}
    assert tried == set(dtimer.commands) - {"web"}  # it shows pages, and prints nothing to be read
    files = {path.stem for path in SCHEMAS.glob("*.json")}
    assert files == {name for name, *_ in CASES}
    page = PAGE.read_text("utf-8")
    assert [name for name in sorted(files) if f"(../schemas/{name}.json)" not in page] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("upcoming", [{"id": "one"}]),
        ("peek", {"id": "one", "state": "gone"}),
        ("holds", [{"what": "queue", "name": "q", "by": "me", "why": "", "since": "yesterday", "complete": True}]),
        ("stats", None),
    ],
)
def test_a_wrong_answer_is_none_of_its_schema(name, value):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, schema_of(name), format_checker=CHECKER)
