"""``--tag`` and ``--task`` of the commands: many tasks at once, counted and asked about first."""

import json
from datetime import UTC, datetime

from celery_dtimer import get_timer

THEN = datetime(2100, 1, 2, tzinfo=UTC)


def posted(note, *names, tags=("order:42",)):
    for name in names:
        note.post((1,), eta=THEN, task_id=name, tags=tags)


def answer(done):
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_upcoming_shows_those_with_a_tag_or_of_a_name(quick, note):
    posted(note, "a", "b")
    posted(note, "c", tags=["other"])
    assert [(row["id"], row["tags"]) for row in answer(quick("upcoming", "--tag", "order:42", "--json"))] == [
        ("a", ["order:42"]),
        ("b", ["order:42"]),
    ]
    assert len(answer(quick("upcoming", "--task", note.name, "--json"))) == 3
    assert quick("upcoming", "--tag", "order:42").output.splitlines()[-1] == "2 shown, 3 pending in all"
    assert "tags:             other" in quick("peek", "c").output


def test_cancel_by_tag_counts_first_and_asks(quick, note):
    posted(note, "a", "b")
    posted(note, "c", tags=["other"])
    assert quick("cancel", "--tag", "order:42", "--dry-run").output == "2 tasks would be cancelled\n"
    assert quick("cancel", "--tag", "order:42").exit_code == 1  # nobody says yes
    assert get_timer(note.app).count().pending == 3
    done = answer(quick("cancel", "--tag", "order:42", "--yes", "--json"))
    assert done == {"done": 2, "ids": ["a", "b"], "leased": [], "dry_run": False}
    assert quick("cancel", "--task", note.name, "--yes").output == "1 tasks are cancelled\n"
    assert get_timer(note.app).count().pending == 0


def test_move_and_run_now_by_tag(quick, note):
    posted(note, "a", "b")
    moved = quick("move", "--tag", "order:42", "--eta", "2100-01-03", "--yes", "--if-due-at", THEN.isoformat())
    assert moved.output == "2 tasks are due at 2100-01-03T00:00:00+00:00\n"
    assert quick("move", "--task", note.name, "--delay", "60", "--dry-run").output == "2 tasks would be due in 60 s\n"
    assert quick("run-now", "--tag", "order:42", "--yes").output == "2 tasks are due now\n"
    assert all(row["overdue"] for row in answer(quick("upcoming", "--json")))


def test_an_id_and_a_tag_together_are_refused(quick):
    for arguments in (["cancel"], ["cancel", "x", "--tag", "a"], ["run-now", "x", "--task", "a"]):
        refused = quick(*arguments)
        assert refused.exit_code == 2
        assert "give an ID, or --tag or --task, and not both" in refused.output


def test_parked_replay_and_drop_by_tag(quick, note):
    posted(note, "a", "b")
    timer = get_timer(note.app)
    timer.change_many(delay=-5, tag="order:42")
    (store,) = timer.shards
    queue = timer.peek("a").queue
    call = store.claim((queue,), listener="l", holder="h", nonce="n", room=9, lease_ms=60_000, ahead_ms=1000)
    deliveries = store.read_claim(store.ask(call), (queue,)).deliveries
    store.ask(store.park(queue, deliveries, "why"))
    assert [row["tags"] for row in answer(quick("parked", "--tag", "order:42", "--json"))] == [["order:42"]] * 2
    assert quick("replay", "--tag", "none", "--yes").output == "0 tasks are pending again\n"
    assert quick("drop", "--tag", "order:42", "--dry-run").output == "2 tasks would be dropped\n"
    assert quick("replay", "--tag", "order:42", "--delay", "600", "--yes").output == "2 tasks are pending again\n"
    assert len(answer(quick("upcoming", "--tag", "order:42", "--json"))) == 2
