"""``export`` and ``import``: what is stored comes back, once, and a broken line is named."""

import base64
import io
import json
from datetime import UTC, datetime

import pytest

from celery_dtimer import State, get_timer
from celery_dtimer.extension import extension_of
from celery_dtimer.operating.export_command import line_of
from celery_dtimer.operating.importing import MOST_REFUSED, Importer
from celery_dtimer.timer.events import NewEvent
from celery_dtimer.timer.storing.exporting import PAGE, exported

ETA = datetime(2100, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


@pytest.fixture
def timer(worker_app, redis_client):
    """The app's timer; nothing is in it after the test."""
    yield get_timer(worker_app.app)
    redis_client.flushdb()


@pytest.fixture
def claimed(timer, worker_app):
    """Posts a task, and claims it: the store, its queue and the delivery."""

    def claimed(task_id):
        result = worker_app.module.note.post((1,), delay=0, task_id=task_id)
        queue, store = result.peek().queue, timer.shards[0]
        call = store.claim([queue], listener="l", holder="h", nonce="n", room=1, lease_ms=60_000, ahead_ms=1000)
        return store, queue, store.read_claim(store.ask(call), [queue]).deliveries

    return claimed


def line(**changes):
    """A line as export writes it, but for some changes; None leaves a field out."""
    payload = base64.b64encode(b'1{"h":{"task":"proj.note"},"p":{}}\n[[],{},{}]').decode()
    fields = {
        "v": 1,
        "id": "one",
        "state": "pending",
        "queue": "celery",
        "due_at": ETA.isoformat(),
        "task": "proj.note",
    }
    fields |= {"max_redeliveries": 20, "redeliveries": 0, "payload": payload, **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not None}) + "\n"


def test_what_was_exported_comes_back_and_a_second_import_doubles_nothing(quick, timer, claimed, note, tmp_path):
    note.post((1, "two"), {"three": 3}, eta=ETA, task_id="later", max_redeliveries=3, queue="other")
    store, queue, deliveries = claimed("given back")
    store.ask(store.release(queue, deliveries, backoff_ms=3600_000, counted=True, reason="it failed"))
    store, queue, deliveries = claimed("aside")
    store.ask(store.park(queue, deliveries, "no worker knows it"))
    before = {event.id: event for event in timer.upcoming(payloads=True)}
    file = tmp_path / "events.jsonl"
    written = quick("export", str(file), "--parked")
    assert (written.exit_code, written.output) == (0, "2 pending and 1 parked tasks are written\n")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["events.jsonl"]
    rows = {row["id"]: row for row in map(json.loads, file.read_text().splitlines())}
    assert rows["later"] | {"payload": ""} == {
        "v": 1,
        "id": "later",
        "state": "pending",
        "queue": "other",
        "due_at": ETA.isoformat(),
        "task": "proj.note",
        "tags": [],
        "max_redeliveries": 3,
        "redeliveries": 0,
        "payload": "",
    }
    assert rows["given back"]["redeliveries"] == 1
    assert (rows["aside"]["state"], rows["aside"]["reason"]) == ("parked", "no worker knows it")

    timer.cancel_many(list(rows))
    assert timer.count().pending == timer.count().parked == 0
    shown = quick("import", str(file), "--dry-run")
    assert (shown.exit_code, shown.output.splitlines()[0]) == (0, "2 tasks would be stored")
    assert timer.count().pending == 0
    shown = quick("import", str(file), "--json")
    told = {"stored": 2, "skipped": 1, "refused": 0, "refusals": [], "dry_run": False}
    assert (shown.exit_code, json.loads(shown.output)) == (0, told)
    assert {event.id: event for event in timer.upcoming(payloads=True)} == before
    assert timer.peek("later").max_redeliveries == 3

    assert json.loads(quick("import", str(file), "--json").output) == told | {"stored": 0, "skipped": 3}
    assert json.loads(quick("import", str(file), "--json", "--parked").output) == told | {"stored": 1, "skipped": 2}
    assert timer.peek("aside").state is State.PENDING
    assert timer.count().pending == 3


def test_a_task_in_the_hands_of_a_worker_is_not_exported_and_not_doubled_by_an_import(quick, timer, claimed):
    store, queue, deliveries = claimed("running")
    assert quick("export").stdout == ""
    shown = quick("import", input=line(id="running", queue=queue))
    assert shown.stdout.splitlines() == ["0 tasks are stored", "1 line is skipped: known or parked already"]
    assert timer.count().pending == 0
    store.ask(store.confirm(queue, deliveries))


def test_export_to_the_standard_output_is_only_lines(quick, note):
    note.post((), eta=ETA, task_id="one")
    note.post((), eta=ETA, task_id="two", queue="other")
    shown = quick("export", "-Q", "other", "--json")
    [row] = map(json.loads, shown.stdout.splitlines())
    assert row["id"] == "two"
    assert json.loads(shown.stderr) == {"pending": 1, "parked": 0, "unreadable": 0}


def test_a_file_that_exists_is_asked_about(quick, note, tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text("precious")
    assert quick("export", str(file), input="n\n").exit_code == 1
    assert file.read_text() == "precious"
    assert quick("export", str(file), "--yes").exit_code == 0
    assert file.read_text() == ""
    for path in (tmp_path, tmp_path / "no folder" / "file"):
        shown = quick("export", str(path), "--yes")
        assert (shown.exit_code, len(shown.stderr.splitlines())) == (1, 1)
        assert shown.stderr.startswith(f"Error: can't write {path}: ")
    assert quick("import", str(tmp_path / "nothing")).stderr.startswith("Error: can't read ")


BROKEN = [
    ("nonsense\n", "Expecting value"),
    ("[1]\n", "line must be a JSON object, got [1]"),
    ("\xff\n", "can't decode"),
    ("[" * 100_000 + "\n", "recursion"),
    (line(v=2), "v must be 1, the version"),
    (line(v=None), "v must be 1, the version"),
    (line(id=None), "id must be a string"),
    (line(id=""), "id must be a string"),
    (line(id="x" * 201), "id must be a string"),
    (line(id="\ud800"), "id must be"),
    (line(queue=7), "queue must be a string"),
    (line(due_at="soon"), "due_at must be a datetime or ISO 8601 text, got 'soon'"),
    (line(due_at=60), "due_at must be a datetime or ISO 8601 text"),
    (line(payload="%"), "payload must be base64 text"),
    (line(payload=["a"]), "payload must be base64 text"),
    (line(payload=base64.b64encode(b"x" * (512 * 1024 + 1)).decode()), "dtimer_max_payload allows 524288"),
    (line(payload="A" * 2_000_000), "it is longer than"),
    (line(max_redeliveries=-1), "max_redeliveries must be"),
    (line(max_redeliveries="20"), "max_redeliveries must be"),
    (line(task=""), "task must be a string"),
    (line(state="leased"), "state must be pending or parked, got 'leased'"),
]


def test_a_broken_line_is_named_and_nothing_else_is_lost(quick, timer):
    good = [line(id=f"good {number}") for number in range(len(BROKEN) + 1)]
    text = "".join(first + second for first, (second, _) in zip(good, BROKEN, strict=False)) + good[-1] + "\n"
    shown = quick("import", input=text.encode("utf-8", "surrogatepass").replace("\xff".encode(), b"\xff"))
    assert shown.exit_code == 1
    assert isinstance(shown.exception, SystemExit)
    said = shown.stderr.splitlines()
    for number, (told, (_, why)) in enumerate(zip(said, BROKEN, strict=True), 1):
        assert told.startswith(f"line {2 * number}: "), told
        assert why in told
        assert len(told) < 1100
    assert shown.stdout.splitlines()[0] == f"{len(good)} tasks are stored"
    assert shown.stdout.splitlines()[2] == f"{len(BROKEN)} lines are refused"
    assert timer.count().pending == len(good)


def test_what_the_same_id_means_is_a_choice(quick, timer, tmp_path):
    quick("import", input=line())
    later = line(due_at="2101-01-01T00:00:00+00:00")
    shown = quick("import", "--on-conflict", "error", input=line(id="two") + later)
    assert (shown.exit_code, shown.stderr) == (1, "line 2: the task one is pending already\n")
    assert timer.peek("one").due_at == ETA
    assert quick("import", "--on-conflict", "replace", "--dry-run", input=later).exit_code == 0
    assert timer.peek("one").due_at == ETA
    assert quick("import", "--on-conflict", "replace", input=later).exit_code == 2  # there is nobody to ask
    file = tmp_path / "later.jsonl"
    file.write_text(later)
    assert quick("import", str(file), "--on-conflict", "replace", input="n\n").exit_code == 1
    assert timer.peek("one").due_at == ETA
    assert quick("import", str(file), "--on-conflict", "replace", input="y\n").exit_code == 0
    quick("import", input=line(id="three"))
    assert quick("import", "--on-conflict", "replace", "--yes", input=line(id="three")).exit_code == 0
    assert timer.peek("one").due_at.year == 2101
    shown = quick("import", "--json", "--dry-run", input=line(id="new") * 2)
    assert json.loads(shown.output)["stored"] == 1


def test_what_is_due_already_is_due_at_once(quick, timer):
    quick("import", input=line(due_at="2020-01-01T00:00:00+00:00"))
    assert timer.count(duration=0).pending == 1


class Interrupted(io.BytesIO):
    """A stream that is interrupted behind some lines."""

    def __init__(self, data, after):
        super().__init__(data)
        self.left = after

    def readline(self, size=-1):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().readline(size)


def test_an_interrupted_import_goes_on_from_the_line_that_it_says(worker_app, timer):
    data = "".join(line(id=str(number)) for number in range(1200)).encode()
    importer = Importer(extension_of(worker_app.app))
    with pytest.raises(KeyboardInterrupt):
        importer.run(Interrupted(data, 900))
    assert (importer.report.stored, importer.report.next_line) == (500, 501)
    assert timer.count().pending == 500
    rest = Importer(extension_of(worker_app.app)).run(io.BytesIO(data), from_line=501)
    assert (rest.stored, rest.skipped, rest.next_line) == (700, 0, 1201)
    assert timer.count().pending == 1200


def test_a_redis_that_is_away_says_where_to_go_on(quick, worker_app, start_redis):
    server = start_redis()
    worker_app.app.conf.dtimer_url = server.url
    server.kill()
    shown = quick("import", "--from-line", "3", input=line() * 5)
    assert shown.exit_code == 1
    assert shown.stderr.endswith("0 tasks stored before; go on with --from-line 3\n")
    assert len(shown.stderr.splitlines()) == 1


def test_refusals_that_are_kept_are_bounded(worker_app):
    report = Importer(extension_of(worker_app.app)).run(io.BytesIO(b"x\n" * (MOST_REFUSED + 5)))
    assert (report.refused, len(report.refusals)) == (MOST_REFUSED + 5, MOST_REFUSED)


def test_pages_go_on_behind_what_is_moved_and_ended_meanwhile(make_app, redis_url, redis_client):
    extension = extension_of(make_app(dtimer_url=redis_url, dtimer_shards=2))
    timer = get_timer(extension.app)
    ids = [f"{number:04}" for number in range(3 * PAGE)]
    for store_number, store in enumerate(extension.shards):
        here = [each for each in ids if extension.shards.number_of(each) == store_number]
        store.post([NewEvent(each, b"p", "at", 4_000_000_000_000, 3, "q", b"kind") for each in here])
    timer.hold(task="kind")
    seen = []
    for number, event in enumerate(exported(extension.shards)):
        seen.append(event.id)
        if number == PAGE - 1:  # the end of the first page, where it goes on from, is gone
            timer.cancel(event.id)
    assert sorted(seen) == ids
    assert line_of(event)["task"] == "kind"
    redis_client.flushdb()


def test_a_record_that_can_not_be_read_is_named_and_left_out(quick, timer, note, redis_client):
    note.post((), eta=ETA, task_id="good")
    note.post((), eta=ETA, task_id="bad")
    redis_client.hset("{dt:tasks:0}:events", "bad", b"nonsense")
    shown = quick("export")
    assert shown.exit_code == 1
    assert [json.loads(row)["id"] for row in shown.stdout.splitlines()] == ["good"]
    assert shown.stderr.splitlines()[0] == "bad can't be read, and is left out"
