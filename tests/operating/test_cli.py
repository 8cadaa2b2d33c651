"""``celery -A proj dtimer ...``, as the operator types it: a process of its own, what it says, and its status."""

import json
from datetime import UTC, datetime

import pytest
from rig.outsider import Outsider
from rig.ports import HOST, free_port

from celery_dtimer import get_timer
from celery_dtimer.operating.printing import WIDTH, columns, printable, span

UNKNOWN = "is unknown: it has run, was cancelled, or was never posted"


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
        "tags": [],
        "queue": "celery",
        "task": "proj.note",
        "args": "(1, 'two')",
        "kwargs": "{'three': 3}",
        "overdue": False,
        "consumed": False,
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


def test_upcoming_in_plain_text_has_a_header_two_lines_a_task_and_a_count(quick, note):
    later, soon = note.post_in(3600, "later"), note.post_in(60, 1, two=2)
    header, *lines, last = quick("upcoming").output.splitlines()
    assert header.split() == ["DUE", "(UTC)", "IN", "TASK"]
    [first, first_id, second, second_id] = lines
    assert first.endswith("s  proj.note (1,) {'two': 2}")
    assert first.startswith(soon.peek().due_at.strftime("%Y-%m-%d %H:%M:%S"))
    assert first_id.startswith(f"    {soon.id}  queue celery")
    assert second.endswith(" m  proj.note ('later',)")
    assert second_id.startswith(f"    {later.id}  ")
    assert last == "2 of 2 pending"


def test_upcoming_of_an_empty_timer(quick, worker_app):
    assert quick("upcoming").output == "0 of 0 pending\n"
    assert json.loads(quick("upcoming", "--json").output) == []


def test_upcoming_marks_what_is_overdue_and_what_no_worker_fires(quick, note):
    note.post_in(-5, "over")
    shown = quick("upcoming").output.splitlines()
    assert shown[2].endswith("queue celery, overdue, no worker")
    [row] = json.loads(quick("upcoming", "--json").output)
    assert (row["overdue"], row["consumed"]) == (True, False)


def test_upcoming_of_a_queue_that_a_worker_fires_for_has_no_such_mark(quick, note, start_worker):
    start_worker(pool="threads")
    note.post_in(3600)
    note.post((), delay=7200, queue="elsewhere")
    first, second = (line for line in quick("upcoming").output.splitlines() if line.startswith("    "))
    assert first.endswith("queue celery")
    assert second.endswith("queue elsewhere, no worker")


@pytest.mark.slow
def test_upcoming_is_shown_without_a_broker(command, note):
    note.post_in(3600)
    done = command("upcoming", BROKER_URL=f"redis://:s3cret@{HOST}:{free_port()}")
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[-1] == "whether workers consume the queues is unknown: the broker does not answer"
    assert "no worker" not in done.stdout
    assert "s3cret" not in done.stdout + done.stderr


def test_upcoming_in_pages(quick, note):
    ids = [note.post_in(60 + 100 * n, n).id for n in range(5)]

    def page(*options):
        return [row["id"] for row in json.loads(quick("upcoming", "--json", *options).output)]

    assert page("--limit", "2") == ids[:2]
    assert page("-n", "2", "--skip", "3") == ids[3:]
    assert page("--skip", "9") == []
    assert page("--within", "310") == ids[:3]
    assert page("--within", "0") == []
    assert quick("upcoming", "-n", "2").output.splitlines()[-1] == "2 of 5 pending"
    assert quick("upcoming", "--within", "310").output.splitlines()[-1] == "3 of 3 pending"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (0.9, "now"),
        (59.9, "59 s"),
        (-59.9, "59 s"),
        (60, "1 m"),
        (3599, "59 m"),
        (3600, "1 h"),
        (3660, "1 h 1 m"),
        (86_399, "23 h 59 m"),
        (86_400, "1 d"),
        (40 * 86_400 + 3 * 3600, "40 d 3 h"),
        (400 * 86_400 + 3 * 3600, "400 d"),
        (7974 * 365 * 86_400, "2910510 d"),
    ],
)
def test_a_long_delay_is_shown_in_days(seconds, text):
    assert span(seconds) == text


HOSTILE = [
    "plain",
    "two\nlines",
    "\r\x1b[2J\x1b[1;1Hcleared",
    "\x1b]0;title\x07",
    "\u202egnihtyna\u2066\u2069",
    "\u200b\u200d\ufeff",
    "\x9b31m",
    "\x00",
    "\u2028\u2029\x85\x0b\x0c",
    "漢字" * 60,
    "a" * 190,
    "e\u0301" * 60,
    "'quotes\" and \\backslashes\\",
    "{braces} %s %(percent)s",
]


def test_nothing_in_a_task_forges_output(quick, worker_app):
    app, timer = worker_app.app, get_timer(worker_app.app)
    ids = [text[:60] for text in HOSTILE]
    for text, event_id in zip(HOSTILE, ids, strict=True):

        @app.task(name=f"{text}.task")
        def hostile(*args, **kwargs): ...

        reprs = {"argsrepr": text, "kwargsrepr": text}
        hostile.post((text,), {"key": text}, delay=3600, task_id=event_id, queue=text[:50], **reprs)
    try:
        lines = quick("upcoming").output.split("\n")
        assert lines[-2:] == [f"{len(HOSTILE)} of {len(HOSTILE)} pending", ""]
        assert len([line for line in lines if line.startswith("2")]) == len(HOSTILE)
        assert all(line.isprintable() for line in lines)
        assert all(columns(line) <= WIDTH or line.strip() in map(printable, ids) for line in lines)
        for event_id in ids:
            peeked = quick("peek", "--", event_id).output.split("\n")
            assert all(line.isprintable() for line in peeked)
            assert len(peeked) == 11
            for command, argument in (("peek", f"{event_id}?"), ("cancel", f"{event_id}?"), ("cancel", event_id)):
                [line, end] = quick(command, "--", argument).output.split("\n")
                assert line.isprintable()
                assert end == ""
    finally:
        for text, event_id in zip(HOSTILE, ids, strict=True):
            timer.cancel(event_id)
            del app._tasks[f"{text}.task"]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["upcoming", "-n", "0"], 2),
        (["upcoming", "-n", "10001"], 2),
        (["upcoming", "-n", "many"], 2),
        (["upcoming", "--skip", "-1"], 2),
        (["upcoming", "--within", "soon"], 2),
        (["upcoming", "--within", "-5"], 2),
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
    assert refused.stderr.startswith(f"{leased.id} is in the hands of holder@host since 2")
    assert refused.stderr.endswith("; nothing was changed\n")
    answer = json.loads(quick("cancel", "--json", leased.id).output)
    assert (answer["done"], answer["state"], answer["holder"]) == (False, "leased", "holder@host")
    assert leased.peek().state == "leased"


def test_an_unknown_task_has_status_1_in_both_forms(quick, worker_app):
    for arguments, said in [
        (("peek", "nobody"), f"nobody {UNKNOWN}\n"),
        (("cancel", "nobody"), f"nobody {UNKNOWN}\n"),
        (("peek", "nobody", "--json"), "null\n"),
    ]:
        shown = quick(*arguments)
        assert shown.exit_code == 1
        assert shown.output == said


def test_cancel_in_json_has_status_0(quick, note):
    result = note.post_in(60)
    shown = quick("cancel", result.id, "--json")
    assert shown.exit_code == 0
    answer = json.loads(shown.output)
    assert (answer["id"], answer["done"], answer["state"]) == (result.id, True, "pending")


def test_events_that_are_no_tasks_are_listed_too(quick, timer_url):
    timer = Outsider(timer_url)
    timer.post(b"\x00not a message", 60, id="bytes")
    timer.post('1{"h":{"task":["no name"],"argsrepr":null},"p":{}}\n', 61, id="odd")
    try:
        _, _, first, _, second, last = quick("upcoming").output.splitlines()
        assert "bytes" in first
        assert "odd" in second
        assert last == "2 of 2 pending"
        assert json.loads(quick("peek", "bytes", "--json").output)["task"] is None
        assert quick("peek", "odd").exit_code == 0
        assert len(json.loads(quick("upcoming", "--json").output)) == 2
    finally:
        timer.cancel("bytes")
        timer.cancel("odd")
        timer.close()


def test_adopt_names_a_broker_that_is_down_in_one_line(command, worker_app):
    port = free_port()
    line = one_line_of(command("adopt", BROKER_URL=f"redis://:s3cret@{HOST}:{port}/0"))
    assert f"the broker redis://:**@{HOST}:{port}/0 did not answer" in line
    assert "s3cret" not in line


def test_adopt_says_what_it_leaves_and_why(quick, worker_app):
    app = worker_app.app
    with app.connection_for_write() as connection:
        connection.Producer().publish({"task": "old\x1b[31m\n.style", "id": "1"}, routing_key="celery")
    assert quick("adopt").output.splitlines() == [
        "0 tasks are in the timer",
        "0 messages stay in the broker: without an eta, or with a nearer one",
        r"1 message stays in the broker: of protocol 1 (old\x1b[31m\n.style)",
    ]
    assert json.loads(quick("adopt", "--json").output)["left"] == {"of protocol 1 (old\x1b[31m\n.style)": 1}
