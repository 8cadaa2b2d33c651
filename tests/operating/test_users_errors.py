"""What a user does wrong, or finds away, is told by every command in a line, with a status, and without a traceback."""

import sys

import pytest
from celery.bin.celery import celery
from click.testing import CliRunner
from rig.ports import HOST, free_port

from celery_dtimer.operating.cli import dtimer

#: Arguments with which each command does something.
WORKING = {
    "adopt": [],
    "cancel": ["one"],
    "catch-up": [],
    "doctor": [],
    "drop": ["one", "--yes"],
    "export": [],
    "forecast": [],
    "hold": ["-Q", "celery"],
    "holds": [],
    "import": [],
    "metrics": [],
    "move": ["one", "--delay", "60"],
    "parked": [],
    "peek": ["one"],
    "post": ["proj.note", "--delay", "60", "--id", "one"],
    "replay": ["one"],
    "resume": ["-Q", "celery"],
    "run-now": ["one"],
    "stats": [],
    "top": ["--once"],
    "upcoming": [],
}
LINE = (
    '{"v": 1, "id": "one", "state": "pending", "queue": "q", "due_at": "2100-01-01", "max_redeliveries": 1,'
    ' "payload": ""}'
)
INPUTS = {"import": LINE}

#: Wrong arguments, the status, and a part of what is said.
WRONG = [
    ("cancel", [""], 1, "id must be"),
    ("cancel", ["one", "--if-due-at", "soon"], 1, "--if-due-at must be"),
    ("catch-up", ["fast"], 2, "rate must be"),
    ("catch-up", ["0"], 1, "rate must be"),
    ("doctor", ["--live", "--timeout", "0"], 2, "0.0 is not in the range"),
    ("drop", [""], 1, "id must be"),
    ("export", ["/nowhere/file"], 1, "can't write /nowhere/file"),
    ("forecast", ["--by", "year"], 2, "'year' is not one of"),
    ("hold", [], 2, "name a queue"),
    ("hold", ["-Q", ""], 1, "queue must be"),
    ("hold", ["-Q", "q", "--why", "x" * 1001], 1, "why must be"),
    ("import", ["/nowhere/file"], 1, "can't read /nowhere/file"),
    ("import", ["--from-line", "0"], 2, "0 is not in the range"),
    ("metrics", ["--port", "70000"], 2, "70000 is not in the range"),
    ("move", ["one"], 2, "give --delay or --eta"),
    ("move", ["one", "--delay", "nan"], 1, "delay must be"),
    ("move", ["one", "--delay", "1e300"], 1, "delay must be"),
    ("move", ["one", "--delay", "soon"], 2, "'soon' is not a valid float"),
    ("move", ["one", "--eta", "soon"], 1, "--eta must be"),
    ("parked", ["--after", "nothing"], 1, "after must be"),
    ("peek", ["x" * 201], 1, "id must be"),
    ("post", ["proj.note", "--delay", "nan"], 1, "delay must be"),
    ("post", ["proj.unknown", "--delay", "1"], 1, "TASK must be the name of a task of the app"),
    ("post", ["proj.note", "--delay", "1", "--args", "{"], 2, "--args must be a JSON array"),
    ("post", ["proj.nap", "--delay", "1", "--args", "[1, 2]"], 1, "takes"),
    ("replay", ["one", "--delay", "inf"], 1, "delay must be"),
    ("resume", [], 2, "name a queue"),
    ("run-now", [""], 1, "id must be"),
    ("stats", ["extra"], 2, "unexpected extra argument"),
    ("top", ["--every", "0"], 2, "0.0 is not in the range"),
    ("upcoming", ["--within", "nan"], 1, "duration must be"),
    ("adopt", ["--at-least", "-1"], 2, "-1.0 is not in the range"),
    ("adopt", ["-Q", "nowhere"], 0, "0 tasks"),
    ("web", ["--port", "70000"], 2, "70000 is not in the range"),
    ("holds", ["--why"], 2, "No such option"),
]


def told(shown, statuses):
    """What a command has said; it ended by itself, without a traceback."""
    assert shown.exit_code in statuses, shown.output
    assert shown.exception is None or isinstance(shown.exception, SystemExit), shown.exception
    assert "Traceback" not in shown.output
    return shown.output


def test_every_command_is_tried():
    assert {name for name, *_ in WRONG} == set(dtimer.commands)
    assert set(WORKING) == set(dtimer.commands) - {"web"}  # it goes on without Redis, and shows that


@pytest.mark.parametrize(("command", "arguments", "status", "said"), WRONG)
def test_a_wrong_argument_is_told(quick, worker_app, command, arguments, status, said):
    assert said in told(quick(command, *arguments), {status})


@pytest.mark.parametrize("command", WORKING)
def test_a_redis_that_is_away_is_told_by_every_command(quick, worker_app, command):
    worker_app.app.conf.dtimer_url = f"redis://:s3cret@{HOST}:{free_port()}"
    if command == "adopt":
        worker_app.module.note.apply_async(countdown=3600)
    shown = quick(command, *WORKING[command], input=INPUTS.get(command))
    output = told(shown, {1, 2})
    assert "did not answer" in output or "does not answer" in output
    assert "s3cret" not in output
    if command not in {"doctor", "top", "metrics"}:
        assert shown.stdout == ""
        assert len(shown.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", WORKING)
def test_an_app_without_the_timer_and_no_app_at_all_are_told_by_every_command(
    tmp_path, monkeypatch, worker_app, command
):
    (tmp_path / "bare.py").write_text("from celery import Celery\napp = Celery('bare', broker='memory://')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    kept = dict.fromkeys(("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"))
    for name, statuses, said in (
        ("bare", {1}, "the app 'bare' has no timer: call celery_dtimer.install(app)"),
        ("no_such_module", {2}, "Unable to load celery application"),
    ):
        arguments = ["-A", name, "dtimer", command, *WORKING[command]]
        shown = CliRunner().invoke(celery, arguments, env=kept, input=INPUTS.get(command))
        assert said in told(shown, statuses)
        sys.modules.pop(name, None)
