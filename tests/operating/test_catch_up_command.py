"""``catch-up``: the limit is set, shown and ended, in this process."""

import json
from datetime import UTC, datetime

import pytest

from celery_dtimer import get_timer
from celery_dtimer.operating.printing import WIDTH, columns

PAST = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def timer(worker_app):
    """The app's timer; no limit is stored after the test."""
    timer = get_timer(worker_app.app)
    yield timer
    timer.forget_catch_up_limit()


def test_a_limit_is_set_shown_and_ended(quick, timer, note):
    assert quick("catch-up").output == "no limit\n    0 tasks are overdue by more than 10 s\n"
    for _ in range(2):
        note.post((1,), eta=PAST)
    first, second, third = quick("catch-up", "0.5", "--why", "the database is slow", "--by", "ann").output.splitlines()
    assert first == "at most 0.5 tasks a second of what is overdue by more than 10 s (stored)"
    assert second.startswith("    since 20")
    assert second.endswith(" UTC by ann: the database is slow")
    assert third == "    2 tasks are held back: 4 s to go"
    assert quick("stats").output.splitlines()[-1] == "at most 0.5 a second of 2 overdue tasks are claimed: 4 s"

    told = json.loads(quick("catch-up", "500", "--after", "60", "--json").output)
    assert (told["rate"], told["after"], told["overdue"], told["stored"]["why"]) == (500.0, 60.0, 2, "")
    off = quick("catch-up", "off", "--why", "enough").output.splitlines()
    assert off[0] == "no limit"
    assert off[1].endswith(": enough")
    assert timer.catch_up_limit().rate is None

    ended = quick("catch-up", "default")
    assert (ended.exit_code, ended.output.splitlines()[0]) == (0, "no limit")
    twice = quick("catch-up", "default")
    assert (twice.exit_code, twice.stderr) == (1, "no limit was stored; nothing was changed\n")


def test_the_setting_counts_while_no_limit_is_stored(quick, timer, worker_app, monkeypatch):
    monkeypatch.setitem(worker_app.app.conf, "dtimer_catch_up_rate", 100)
    monkeypatch.setitem(worker_app.app.conf, "dtimer_catch_up_after", 30)
    shown = quick("catch-up").output.splitlines()
    assert shown[0] == "at most 100 tasks a second of what is overdue by more than 30 s (dtimer_catch_up_rate)"
    assert shown[1:] == ["    0 tasks are held back"]
    assert quick("catch-up", "7").output.startswith("at most 7 tasks a second of what is overdue by more than 30 s (st")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["fast"], 2, "rate must be a number of events a second, 0.001 to 1e+06, or None, got 'fast' (str)"),
        (["nan"], 1, "rate must be a number of events a second, 0.001 to 1e+06, or None, got nan"),
        (["0"], 1, "rate must be a number of events a second, 0.001 to 1e+06, or None, got 0.0"),
        (["5", "--after", "0"], 1, "after must be a finite number of seconds"),
        (["--why", "x"], 2, "--after, --why and --by belong to a RATE, or to off"),
        (["default", "--by", "me"], 2, "--after, --why and --by belong to a RATE, or to off"),
        (["5", "--by", "a\nb"], 1, r"by must be one line, got 'a\nb'"),
    ],
)
def test_a_wrong_argument_is_told_and_nothing_is_stored(quick, timer, arguments, status, said):
    shown = quick("catch-up", *arguments)
    assert (shown.exit_code, shown.stdout) == (status, "")
    assert said in shown.stderr
    assert timer.catch_up_limit() is None


@pytest.mark.parametrize("text", ["\x1b[2J", "\u202egnihtyna", "漢字" * 40, "x" * 200])
def test_nothing_in_a_reason_forges_output(quick, timer, text):
    quick("catch-up", "5", "--why", text)
    lines = quick("catch-up").output.split("\n")
    assert len(lines) == 4
    assert all(line.isprintable() and columns(line) <= WIDTH for line in lines)
