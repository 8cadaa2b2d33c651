"""``hold``, ``resume`` and ``holds``, in this process."""

import json

import pytest

from celery_dtimer import get_timer
from celery_dtimer.operating.printing import WIDTH, columns


@pytest.fixture
def timer(worker_app):
    """The app's timer; nothing is held after the test."""
    timer = get_timer(worker_app.app)
    yield timer
    for hold in timer.holds():
        timer.resume(queue=hold.name) if hold.what == "queue" else timer.resume(task=hold.name)


def test_hold_holds_and_resume(quick, timer):
    assert quick("holds").output == "nothing is held\n"
    held = quick("hold", "-Q", "celery", "--task", "proj.note", "--why", "the mail server is down", "--by", "ann")
    assert (held.exit_code, held.output) == (0, "queue celery is held\ntask proj.note is held\n")
    again = quick("hold", "-Q", "celery", "--by", "bob")
    assert again.output == "queue celery was held before; who holds it, since when and why is new\n"

    head, first, why, second, by = quick("holds").output.splitlines()
    assert head == "SINCE (UTC)          HELD"
    assert first.endswith("  task proj.note")
    assert why == "    by ann: the mail server is down"
    assert second.endswith("  queue celery")
    assert by == "    by bob"
    [task, queue] = json.loads(quick("holds", "--json").output)
    assert (task["what"], task["name"], task["by"], task["why"]) == (
        "task",
        "proj.note",
        "ann",
        "the mail server is down",
    )
    assert (queue["name"], queue["complete"]) == ("celery", True)

    assert quick("resume", "-Q", "celery").output == "queue celery is resumed\n"
    twice = quick("resume", "-Q", "celery", "--task", "proj.note")
    assert twice.exit_code == 1
    assert twice.stdout == "task proj.note is resumed\n"
    assert twice.stderr == "queue celery was not held; nothing was changed\n"
    assert timer.holds() == []


def test_resume_all(quick, timer):
    assert quick("resume", "--all").output == "nothing is held\n"
    for name in ("one", "two"):
        timer.hold(task=name)
    assert quick("resume", "--all", input="n\n").exit_code == 1
    shown = quick("resume", "--all", "--yes", "--json")
    assert shown.exit_code == 0
    assert json.loads(shown.output) == [
        {"what": "task", "name": "one", "answer": "resumed"},
        {"what": "task", "name": "two", "answer": "resumed"},
    ]
    assert timer.holds() == []


def test_the_answers_in_json(quick, timer):
    for answer in ("held", "held before"):
        shown = quick("hold", "--task", "proj.note", "--json")
        assert json.loads(shown.output) == [{"what": "task", "name": "proj.note", "answer": answer}]
    for status, answer in ((0, "resumed"), (1, "not held")):
        shown = quick("resume", "--task", "proj.note", "--json")
        assert shown.exit_code == status
        assert json.loads(shown.output) == [{"what": "task", "name": "proj.note", "answer": answer}]


def test_a_name_that_the_app_does_not_have_is_held_and_asked_about(quick, timer):
    shown = quick("hold", "-Q", "mial", "--task", "proj.ntoe")
    assert shown.exit_code == 0
    assert shown.stderr.splitlines() == [
        "the app has no queue mial: is it spelled right?",
        "the app has no task proj.ntoe: is it spelled right?",
    ]
    assert len(timer.holds()) == 2


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["hold"], 2, "name a queue (-Q NAME) or a task (--task NAME)"),
        (["resume"], 2, "name a queue (-Q NAME) or a task (--task NAME)"),
        (["resume", "--all", "-Q", "celery"], 2, "give --all alone, or names"),
        (["hold", "--task", "proj.note", "-Q", ""], 1, "queue must be a string of 1 to 255 bytes of UTF-8, got ''"),
        (["hold", "-Q", "celery", "--task", ""], 1, "task must be a string of 1 to 255 bytes of UTF-8, got ''"),
        (["hold", "-Q", "celery", "--why", "x" * 1001], 1, "why must be a string of 0 to 1000 bytes of UTF-8, got "),
        (["hold", "-Q", "celery", "--by", "a\nb"], 1, r"by must be one line, got 'a\nb'"),
        (["holds", "everything"], 2, ""),
    ],
)
def test_a_wrong_argument_is_told_and_nothing_is_held(quick, timer, arguments, status, said):
    shown = quick(*arguments)
    assert (shown.exit_code, shown.stdout) == (status, "")
    assert isinstance(shown.exception, SystemExit)
    assert said in shown.stderr
    assert timer.holds() == []


def test_a_task_too_many_is_one_line_and_status_1(quick, timer):
    for number in range(27):
        timer.hold(task=f"task{number}")
    shown = quick("hold", "--task", "proj.note")
    assert shown.exit_code == 1
    [line] = shown.stderr.splitlines()
    assert line.startswith("Error: 27 tasks at most are held at a time, and 'proj.note' would be one more")


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[2J", "\u202egnihtyna", "漢字" * 40, "x" * 200])
def test_nothing_in_a_hold_forges_output(quick, timer, text):
    name = text[:80]
    assert quick("hold", "--task", name, "--why", text).output.isprintable() is False  # but for its line ends
    lines = quick("holds").output.split("\n")
    assert all(line.isprintable() for line in lines)
    assert all(columns(line) <= WIDTH for line in lines if "  task " not in line)
    assert len(lines) == 4
    [hold] = json.loads(quick("holds", "--json").output)
    assert (hold["name"], hold["why"]) == (name, text)
    assert all(line.isprintable() for line in quick("resume", "--task", name).output.split("\n"))
