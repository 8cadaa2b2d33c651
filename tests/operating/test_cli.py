"""``celery -A proj dtimer ...``, as the operator types it: a process of its own, what it says, and its status."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from celery.bin.celery import celery
from click.testing import CliRunner
from rig.ports import HOST, free_port
from rig.recipes import IMPORTED

from celery_dtimer import get_timer

UNKNOWN = "is unknown: it has run, was cancelled, or was never posted"


@pytest.fixture
def note(worker_app):
    """A task of the project; what waits of it is cancelled after the test."""
    yield worker_app.module.note
    timer = get_timer(worker_app.app)
    for event in timer.upcoming(limit=10_000):
        timer.cancel(event.id)


@pytest.fixture
def command(worker_app):
    """Runs ``celery -A proj dtimer`` in the project's folder."""

    def command(*arguments, app="proj", **environment):
        path = os.pathsep.join([IMPORTED, os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-m", "celery", "-A", app, "dtimer", *arguments],
            cwd=worker_app.folder,
            env={**os.environ, "PYTHONPATH": path, **worker_app.environment, **environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return command


@pytest.fixture
def quick(worker_app):
    """The same command in this process, for what does not depend on being a process of its own."""

    # Celery's command writes these into the environment, and leaves them there.
    kept = dict.fromkeys(("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"))

    def quick(*arguments):
        return CliRunner().invoke(celery, ["-A", "proj", "dtimer", *arguments], env=kept)

    return quick


@pytest.fixture
def leased(note, redis_client):
    """A task in the hands of a worker; it is confirmed after the test."""
    result = note.post((1,), delay=0, task_id="leased")
    store = get_timer(result.app).shards[0]
    queue = result.peek().queue
    call = store.claim([queue], listener="l", holder="holder@host", nonce="n", room=1, lease_ms=60_000)
    [delivery] = store.read_claim(store.ask(call), [queue]).deliveries
    yield result
    store.ask(store.confirm(queue, [delivery]))


def one_line_of(process):
    """The error that a command ended with: one line, no traceback, nothing on the standard output, status 1."""
    assert process.returncode == 1, process
    assert process.stdout == ""
    assert "Traceback" not in process.stderr
    [line] = process.stderr.splitlines()
    return line


def test_upcoming_peek_and_cancel_from_the_shell(command, note):
    later = note.post((1, "two"), {"three": 3}, eta=datetime(2100, 1, 2, 3, 4, 5, 678000, tzinfo=UTC))
    soon = note.post_in(60, "soon")

    listed = command("upcoming", "--json")
    assert listed.returncode == 0, listed
    rows = json.loads(listed.stdout)
    assert [row["id"] for row in rows] == [soon.id, later.id]
    assert rows[1] == {
        "id": later.id,
        "due_at": "2100-01-02T03:04:05.678000+00:00",
        "queue": "celery",
        "task": "proj.note",
        "args": "(1, 'two')",
        "kwargs": "{'three': 3}",
    }

    peeked = command("peek", later.id)
    assert peeked.returncode == 0, peeked
    facts = dict(line.split(":", 1) for line in peeked.stdout.splitlines())
    assert {name: value.strip() for name, value in facts.items()} == {
        "id": later.id,
        "state": "pending",
        "due_at": "2100-01-02T03:04:05.678000+00:00",
        "queue": "celery",
        "task": "proj.note",
        "args": "(1, 'two')",
        "kwargs": "{'three': 3}",
        "redeliveries": "0",
        "max_redeliveries": "20",
        "until": "2100-01-02T03:04:05.678000+00:00",
    }

    cancelled = command("cancel", soon.id)
    assert (cancelled.returncode, cancelled.stdout) == (0, f"{soon.id} is cancelled and will not run\n"), cancelled
    assert soon.peek() is None
    again = command("cancel", soon.id)
    assert one_line_of(again) == f"{soon.id} {UNKNOWN}"


def test_an_app_without_install_and_a_redis_that_is_down_are_one_line_and_status_1(command, worker_app):
    (worker_app.folder / "bare.py").write_text("from celery import Celery\napp = Celery('bare')\n")
    line = one_line_of(command("upcoming", app="bare"))
    assert "celery_dtimer.install(app)" in line
    assert "'bare'" in line

    url = f"redis://:s3cret@{HOST}:{free_port()}"
    line = one_line_of(command("cancel", "some-id", DTIMER_URL=url))
    assert "some-id" in line
    assert "did not answer" in line
    assert "s3cret" not in line


def test_help_lists_the_commands(command):
    shown = command("--help")
    assert shown.returncode == 0, shown
    for words in ("upcoming", "peek", "cancel", "List the tasks that wait, soonest first."):
        assert words in shown.stdout
    assert "Traceback" not in shown.stderr


# --- in this process


@pytest.mark.parametrize("arguments", [["upcoming", "--help"], ["peek", "--help"], ["cancel", "--help"]])
def test_each_command_has_its_help(quick, arguments):
    shown = quick(*arguments)
    assert shown.exit_code == 0
    assert "--json" in shown.output


def test_upcoming_in_plain_text_has_a_line_a_task_and_a_count(quick, note):
    later, soon = note.post_in(3600, "later"), note.post_in(60, 1, two=2)
    first, second, last = quick("upcoming").output.splitlines()
    assert soon.id in first
    assert "proj.note (1,) {'two': 2}" in first
    assert first.startswith(soon.peek().due_at.strftime("%Y-%m-%d %H:%M:%S"))
    assert later.id in second
    assert last == "2 of 2 pending"


def test_upcoming_of_an_empty_timer(quick, worker_app):
    assert quick("upcoming").output == "0 of 0 pending\n"
    assert json.loads(quick("upcoming", "--json").output) == []


def test_upcoming_shows_what_is_overdue_as_such(quick, note):
    note.post_in(-5, "over")
    shown = quick("upcoming")
    assert " s ago  " in shown.output
    assert shown.exit_code == 0


def test_upcoming_in_pages(quick, note):
    ids = [note.post_in(60 + n, n).id for n in range(5)]

    def page(*options):
        return [row["id"] for row in json.loads(quick("upcoming", "--json", *options).output)]

    assert page("--limit", "2") == ids[:2]
    assert page("-n", "2", "--skip", "3") == ids[3:]
    assert page("--skip", "9") == []
    assert page("--within", "62.5") == ids[:3]
    assert page("--within", "0") == []
    assert quick("upcoming", "-n", "2").output.splitlines()[-1] == "2 of 5 pending"
    assert quick("upcoming", "--within", "62.5").output.splitlines()[-1] == "3 of 3 pending"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["upcoming", "-n", "0"], 2),
        (["upcoming", "-n", "10001"], 2),
        (["upcoming", "-n", "many"], 2),
        (["upcoming", "--skip", "-1"], 2),
        (["upcoming", "--within", "soon"], 2),
        (["upcoming", "--within", "nan"], 1),
        (["upcoming", "--within", "inf"], 1),
        (["peek"], 2),
        (["cancel"], 2),
        (["peek", ""], 1),
        (["cancel", ""], 1),
        (["cancel", "x" * 201], 1),
        (["cancel", "one", "two"], 2),
        (["nonsense"], 2),
    ],
)
def test_wrong_arguments_are_an_error_and_no_traceback(quick, arguments, status):
    shown = quick(*arguments)
    assert shown.exit_code == status
    assert isinstance(shown.exception, SystemExit)
    assert "Error: " in shown.output
    if status == 1:
        assert len(shown.output.splitlines()) == 1


def test_a_leased_task_is_shown_with_its_holder_and_not_cancelled(quick, leased):
    shown = quick("peek", leased.id, "--json")
    facts = json.loads(shown.output)
    assert (facts["state"], facts["holder"], facts["task"]) == ("leased", "holder@host", "proj.note")
    assert facts["until"] > facts["due_at"]
    assert "holder:           holder@host" in quick("peek", leased.id).output
    refused = quick("cancel", leased.id)
    assert refused.exit_code == 1
    assert refused.stderr == f"{leased.id} is in a worker's hands already; nothing was changed\n"
    assert json.loads(quick("cancel", "--json", leased.id).output) == {"id": leased.id, "answer": "delivered"}
    assert leased.peek().state == "leased"


def test_an_unknown_task_has_status_1_in_both_forms(quick, worker_app):
    for arguments, said in [
        (("peek", "nobody"), f"nobody {UNKNOWN}\n"),
        (("cancel", "nobody"), f"nobody {UNKNOWN}\n"),
        (("peek", "nobody", "--json"), "null\n"),
        (("cancel", "nobody", "--json"), '{"id": "nobody", "answer": "unknown"}\n'),
    ]:
        shown = quick(*arguments)
        assert shown.exit_code == 1
        assert shown.output == said


def test_cancel_in_json_has_status_0(quick, note):
    result = note.post_in(60)
    shown = quick("cancel", result.id, "--json")
    assert shown.exit_code == 0
    assert json.loads(shown.output) == {"id": result.id, "answer": "cancelled"}


def test_events_that_are_no_tasks_are_listed_too(quick, worker_app):
    timer = get_timer(worker_app.app)
    timer.post(b"\x00not a message", 60, id="bytes")
    timer.post('1{"h":{"task":["no name"],"argsrepr":null},"p":{}}\n', 61, id="odd")
    try:
        first, second, last = quick("upcoming").output.splitlines()
        assert "bytes" in first
        assert "odd" in second
        assert last == "2 of 2 pending"
        assert json.loads(quick("peek", "bytes", "--json").output)["task"] == "?"
        assert quick("peek", "odd").exit_code == 0
        assert len(json.loads(quick("upcoming", "--json").output)) == 2
    finally:
        timer.cancel("bytes")
        timer.cancel("odd")


def test_a_task_with_line_breaks_in_its_id_or_arguments_is_one_line(quick, note):
    note.post(("a\nb",), delay=60, task_id="one\nline", argsrepr="('a\n\x1b[31mb',)")
    first, last = quick("upcoming").output.splitlines()
    assert "proj.note" in first
    assert "\x1b" not in first
    assert last == "1 of 1 pending"
    assert "\x1b" not in quick("peek", "one\nline").output
