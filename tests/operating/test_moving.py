"""``dtimer cancel``, ``move`` and ``run-now``: what they do, what they say, and their status."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from celery_dtimer import get_timer

UNKNOWN = "is unknown: it has run, was cancelled, or was never posted"
THEN = datetime(2100, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)

CHANGES = [["cancel"], ["move", "--delay", "60"], ["move", "--eta", "2100-01-01"], ["run-now"]]


def test_move_lets_a_task_run_at_another_time(quick, note):
    result = note.post((1,), eta=THEN)
    moved = quick("move", result.id, "--eta", "2100-01-02T04:04:05.678+01:00")
    assert moved.exit_code == 0
    assert moved.output.splitlines() == [
        f"{result.id} is due at 2100-01-02T03:04:05.678000+00:00",
        "    it was due at 2100-01-02T03:04:05.678000+00:00",
    ]
    assert quick("move", result.id, "--delay", "3600").exit_code == 0
    assert timedelta(seconds=3590) < result.peek().due_at - datetime.now(UTC) <= timedelta(seconds=3601)
    assert max(map(len, moved.output.splitlines())) <= 80


def test_a_delay_of_nothing_and_run_now_make_a_task_due(quick, note):
    for arguments in (["move", "--delay", "0"], ["move", "--delay=-5"], ["run-now"]):
        result = note.post((1,), eta=THEN)
        done = quick(*arguments, result.id)
        assert done.exit_code == 0, done.output
        assert result.peek().due_at < datetime.now(UTC) + timedelta(seconds=5)
    assert done.output == f"{result.id} is due now\n"


@pytest.mark.parametrize("arguments", CHANGES)
def test_a_change_for_another_due_time_is_not_made(quick, note, arguments):
    result = note.post((1,), eta=THEN)
    refused = quick(*arguments, result.id, "--if-due-at", "2100-01-02T03:04:05.679Z")
    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert refused.stderr == f"{result.id} is due at {THEN.isoformat()}, and not then; nothing was changed\n"
    assert result.peek().due_at == THEN
    assert quick(*arguments, result.id, "--if-due-at", THEN.isoformat()).exit_code == 0


@pytest.mark.parametrize("arguments", CHANGES)
def test_what_a_worker_has_is_named_with_its_worker(quick, leased, arguments):
    refused = quick(*arguments, leased.id)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "is in the hands of holder@host since 2" in refused.stderr
    answer = json.loads(quick(*arguments, leased.id, "--json").output)
    assert (answer["done"], answer["state"], answer["holder"]) == (False, "leased", "holder@host")
    assert answer["since"] < answer["until"]


@pytest.mark.parametrize("arguments", CHANGES)
def test_what_is_unknown_is_said_to_be(quick, worker_app, arguments):
    refused = quick(*arguments, "nobody")
    assert (refused.exit_code, refused.output) == (1, f"nobody {UNKNOWN}\n")
    answer = json.loads(quick(*arguments, "nobody", "--json").output)
    assert answer.pop("id") == "nobody"
    assert answer.pop("done") is False
    assert answer.pop("dry_run") is False
    assert set(answer.values()) == {None}


def test_a_reason_cannot_write_lines_of_its_own(quick, note):
    result = note.post((1,), delay=0, task_id="odd\x1b[31m\nid")
    store = get_timer(result.app).shards[0]
    queue = result.peek().queue
    call = store.claim([queue], listener="l", holder="h", nonce="n", room=1, lease_ms=60_000, ahead_ms=1000)
    store.ask(store.park(queue, store.read_claim(store.ask(call), [queue]).deliveries, "why\x1b[31m\nthen <b>"))
    refused = quick("run-now", result.id)
    assert refused.exit_code == 1
    [line] = refused.stderr.splitlines()
    assert line.startswith(r"odd\x1b[31m\nid is parked since 2")
    assert line.endswith(r"nothing was changed: why\x1b[31m\nthen <b>")
    assert quick("cancel", result.id).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["move"], 2, "give an ID, or --tag or --task, and not both"),
        (["move", "one"], 2, "give --delay or --eta, and one of them"),
        (["move", "one", "--delay", "1", "--eta", "2100-01-01"], 2, "give --delay or --eta, and not both"),
        (["move", "one", "--delay", "soon"], 2, "'soon' is not a valid float"),
        (["move", "one", "--delay", "inf"], 1, "inf"),
        (["move", "one", "--delay", "1e300"], 1, "the year 9999"),
        (["move", "one", "--eta", "tomorrow"], 1, "--eta must be a datetime or ISO 8601 text, got 'tomorrow'"),
        (["move", "one", "--delay", "1", "--if-due-at", "5"], 1, "--if-due-at must be a datetime or ISO 8601 text"),
        (["cancel", "one", "--if-due-at", ""], 1, "--if-due-at must be a datetime or ISO 8601 text, got ''"),
        (["run-now", ""], 1, "id must be a string of 1 to 200 bytes"),
    ],
)
def test_bad_input_is_one_clear_error_and_changes_nothing(quick, note, arguments, status, said):
    result = note.post((1,), eta=THEN, task_id="one")
    refused = quick(*arguments)
    assert refused.exit_code == status, refused.output
    assert said in refused.output
    assert "Traceback" not in refused.output
    assert result.peek().due_at == THEN


def test_a_dry_run_says_what_would_be_so_and_changes_nothing(quick, note):
    note.post((), eta=datetime(2100, 1, 2, tzinfo=UTC), task_id="one")
    before = get_timer(note.app).peek("one")
    shown = quick("cancel", "one", "--dry-run")
    assert (shown.exit_code, shown.output) == (0, "one would be cancelled\n")
    shown = quick("move", "one", "--eta", "2101-01-01", "--dry-run")
    assert shown.exit_code == 0
    assert shown.output.splitlines() == [
        "one would be due at 2101-01-01T00:00:00+00:00",
        "    it is due at 2100-01-02T00:00:00+00:00",
    ]
    shown = quick("run-now", "one", "--dry-run", "--json")
    answer = json.loads(shown.output)
    assert (answer["done"], answer["dry_run"], answer["was_due_at"]) == (True, True, "2100-01-02T00:00:00+00:00")
    shown = quick("cancel", "one", "--dry-run", "--if-due-at", "2100-01-03")
    assert shown.exit_code == 1
    assert shown.stderr.startswith("one is due at 2100-01-02T00:00:00+00:00, and not then")
    assert quick("cancel", "nobody", "--dry-run").exit_code == 1
    assert quick("move", "one", "--delay", "nan", "--dry-run").exit_code == 1
    assert get_timer(note.app).peek("one") == before
