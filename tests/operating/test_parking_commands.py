"""``parked``, ``replay`` and ``drop``, in this process."""

import json

import pytest

from celery_dtimer import State, get_timer
from celery_dtimer.operating.printing import WIDTH, columns
from celery_dtimer.timer.events import Verdict


@pytest.fixture
def timer(worker_app):
    """The app's timer; nothing is parked or pending after the test."""
    timer = get_timer(worker_app.app)
    yield timer
    timer.drop_many(all=True)
    for event in timer.upcoming(limit=10_000):
        timer.cancel(event.id)


@pytest.fixture
def park(timer, worker_app):
    """Parks runs of the tasks note or nap: ``park("id", ..., task=, reason=)``."""

    def park(*ids, task="note", reason="no worker knows the task 'proj.note'", error=""):
        store = timer.shards[0]
        for task_id in ids:
            result = getattr(worker_app.module, task).post((1,), delay=0, task_id=task_id)
            queue = result.peek().queue
            call = store.claim([queue], listener="l", holder="h", nonce="n", room=1, lease_ms=60_000, ahead_ms=1000)
            (delivery,) = store.read_claim(store.ask(call), [queue]).deliveries
            store.ask(store.verdicts(queue, [Verdict(delivery, "park", 0, reason, error)]))

    return park


@pytest.fixture
def typed(quick):
    """The command with an answer that is typed."""
    return lambda answer, *arguments: quick(*arguments, input=answer)


def test_parked_lists_the_newest_first_in_pages(quick, park):
    park("first")
    park("second", task="nap", reason="redelivered too often: the lease lapsed, and more that is cut at the end")
    head, when, task_id, why, *_, last = quick("parked").output.splitlines()
    assert head == "PARKED (UTC)         TASK"
    assert when.endswith("  proj.nap")
    assert task_id == "    second"
    assert why.startswith("    queue celery: redelivered too often: the lease lapsed, and ")
    assert columns(why) == WIDTH
    assert last == "2 of 2 parked"
    [newest] = json.loads(quick("parked", "-n", "1", "--json").output)
    assert (newest["id"], newest["task"], newest["redeliveries"]) == ("second", "proj.nap", 0)
    assert quick("parked", "-n", "1").output.splitlines()[-1] == f"the next page: --after {newest['cursor']}"
    [older] = json.loads(quick("parked", "--after", newest["cursor"], "--json").output)
    assert older["id"] == "first"
    assert quick("parked", "--after", older["cursor"]).output == "0 of 2 parked\n"
    assert [row["id"] for row in json.loads(quick("parked", "--task", "proj.note", "--json").output)] == ["first"]
    assert quick("parked", "--task", "proj.note").output.splitlines()[-1] == "1 shown, 2 parked in all"
    assert [row["id"] for row in json.loads(quick("parked", "--reason", "lapsed", "--json").output)] == ["second"]


def test_parked_shows_the_last_error_and_all_about_one_id(quick, park):
    error = "ValueError: no such order" + " no such order" * 15
    park("one", reason="its task was rejected", error=error)
    park("two", reason="can't be decoded: ValueError: no", error="ValueError: no")
    lines = quick("parked").output.splitlines()
    assert [line for line in lines if "last error" in line] == [lines[7]]
    assert lines[7].startswith("    last error: ValueError: no such order no such")
    assert columns(lines[7]) == WIDTH
    shown = quick("parked", "one")
    assert shown.exit_code == 0
    facts = dict(line.split(maxsplit=1) for line in shown.output.splitlines())
    assert " ".join(facts) == "id: task: queue: due_at: parked_at: holder: deliveries: reason: error:"
    assert (facts["id:"], facts["holder:"], facts["deliveries:"], facts["error:"]) == ("one", "h", "1", error)
    [row] = json.loads(quick("parked", "one", "--json").output)
    assert (row["error"], row["deliveries"], row["holder"]) == (error, 1, "h")
    shown = quick("parked", "nobody")
    assert (shown.exit_code, shown.stdout, shown.stderr) == (1, "", "nobody is not parked\n")
    assert quick("parked", "nobody", "--json").output == "[]\n"
    assert "after must be None if an id is given" in quick("parked", "one", "--after", row["cursor"]).stderr


def test_replay_by_id(quick, timer, park):
    park("one", "two")
    shown = quick("replay", "one", "--delay", "60")
    assert (shown.exit_code, shown.output) == (0, "1 task is pending again\n")
    assert timer.peek("one").state is State.PENDING
    shown = quick("replay", "one", "two", "--dry-run")
    assert shown.exit_code == 1
    assert shown.stdout == "1 task would be pending again\n"
    assert shown.stderr == "one is not parked\n"
    park("one") if timer.cancel("one") else None
    timer.replay("one", 60)
    shown = quick("replay", "one", "two", "--json", "--delay", "60")
    assert shown.exit_code == 1
    assert json.loads(shown.output) == {"done": 1, "in_use": [], "unknown": ["one"], "dry_run": False}


def test_replay_of_what_is_pending_anew_leaves_it_parked(quick, timer, park, worker_app):
    park("one")
    worker_app.module.note.post((), delay=60, task_id="one")
    shown = quick("replay", "--all", "--yes")
    assert shown.exit_code == 1
    assert shown.stderr == "one stays parked: another task of this id is pending or being delivered\n"
    assert timer.count().parked == 1


def test_a_replay_of_many_asks(typed, timer, park):
    park("one", "two")
    park("three", task="nap")
    refused = typed("n\n", "replay", "--task", "proj.note")
    assert refused.exit_code == 1
    assert "2 parked tasks will be pending again. Go on? [y/N]: " in refused.stderr
    assert timer.count().parked == 3
    agreed = typed("y\n", "replay", "--task", "proj.note", "--rate", "1", "--delay", "60")
    assert (agreed.exit_code, agreed.stdout.splitlines()[-1]) == (0, "2 tasks are pending again")
    first, second = timer.upcoming()
    assert 0.9 < (second.due_at - first.due_at).total_seconds() < 1.5
    assert typed("", "replay", "--all", "--delay", "60").exit_code == 1  # there is nobody to ask
    assert timer.count().parked == 1


def test_a_drop_asks_for_ids_too(typed, timer, park):
    park("one", "two", "three")
    assert typed("n\n", "drop", "one").exit_code == 1
    assert timer.count().parked == 3
    assert typed("y\n", "drop", "one").stdout.splitlines()[-1] == "1 task is dropped"
    assert typed("", "drop", "nobody").stderr == "nobody is not parked\n"
    assert typed("", "drop", "--reason", "no worker", "--dry-run").output == "2 tasks would be dropped\n"
    shown = typed("", "drop", "--all", "--yes", "--json")
    assert json.loads(shown.output) == {"done": 2, "in_use": [], "unknown": [], "dry_run": False}
    assert timer.count().parked == 0


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["replay"], 2, "give ids, or --tag, --task and --reason, or --all, and no other of these"),
        (["drop", "one", "--all"], 2, "give ids, or --tag, --task and --reason, or --all, and no other of these"),
        (
            ["drop", "--task", "x", "--all"],
            2,
            "give ids, or --tag, --task and --reason, or --all, and no other of these",
        ),
        (["replay", "--all", "--rate", "0", "--yes"], 1, "rate must be a number of events a second, 0.001 to 1e+06"),
        (["replay", "--all", "--rate", "fast"], 2, "'fast' is not a valid float"),
        (["replay", "one", "--delay", "nan"], 1, "delay must be "),
        (["replay", "one", ""], 1, "id must be a string of 1 to 200 bytes of UTF-8, got ''"),
        (["drop", "--task", "", "--yes"], 1, "task must be a string of 1 to 255 bytes of UTF-8, got ''"),
        (["drop", "--reason", "", "--yes"], 1, "reason must be a string of 1 to 1000 bytes of UTF-8, got ''"),
        (["parked", "-n", "0"], 2, "0 is not in the range"),
        (["parked", "--after", "yesterday"], 1, "after must be the cursor of an event that this timer's parked()"),
    ],
)
def test_a_wrong_argument_is_told_and_nothing_is_changed(quick, timer, park, arguments, status, said):
    park("one")
    shown = quick(*arguments)
    assert (shown.exit_code, shown.stdout) == (status, "")
    assert isinstance(shown.exception, SystemExit)
    assert said in shown.stderr
    assert timer.count().parked == 1


def test_nothing_that_is_parked_forges_output(quick, timer, park):
    for number, text in enumerate(["two\nlines", "\x1b[2J", "\u202egnihtyna", "漢字" * 60, "x" * 190]):
        park(f"{number}{text[:60]}", reason=text)
    lines = quick("parked").output.split("\n")
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 1 + 5 * 3 + 1 + 1
    assert all(columns(line) <= WIDTH for number, line in enumerate(lines) if number % 3 != 2)
    for command in ("replay", "drop"):
        shown = quick(command, "--yes", "\x1b[2J?\n")
        assert all(line.isprintable() for line in shown.output.split("\n"))
