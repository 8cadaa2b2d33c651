"""Events of a task that was renamed: workers that know the new name alone run them, as long as the alias is set."""

import json

import pytest
from rig.waiting import wait_until

from celery_dtimer import State, TooManyHoldsError, get_timer

ALIASES = {
    "proj.oldest": "proj.older",
    "proj.older": "proj.note",
    "proj.persistent": "proj.stubborn",
    "proj.nap": "proj.gone",
}


@pytest.fixture
def former(proj):
    """A task of an earlier release, in this process alone: ``former(name)``."""
    names = []

    def former(name):
        names.append(f"proj.{name}")

        @proj.app.task(name=names[-1])
        def task(*args): ...

        return task

    yield former
    for name in names:
        proj.app.tasks.pop(name, None)


def test_events_of_old_names_run_by_the_new_one_parked_ones_too(proj, timer, former, start_worker, wait_until_empty):
    oldest, older, persistent = former("oldest"), former("older"), former("persistent")
    parked = oldest.post_in(0, "parked")
    old = start_worker(pool="threads", name="old", env={"UNKNOWN_TASK_PATIENCE": "0"})
    wait_until(lambda: timer.count().parked == 1, "the park")
    assert [(event.task, event.reason) for event in timer.parked()] == [
        ("proj.oldest", "no worker knows the task 'proj.oldest'")
    ]
    old.term()
    old.wait()

    start_worker(pool="threads", name="new", env={"TASK_ALIASES": json.dumps(ALIASES)})
    results = [oldest.post_in(0.1, 1), older.post_in(0.1, 2), proj.note.post_in(0.1, 3)]
    assert [result.get(timeout=20)[0] for result in results] == [[1], [2], [3]]
    # A retry is posted by the new name, and stays the same task.
    assert persistent.post_in(0.1, 2, 0.1).get(timeout=20) == 1
    # What is known by its old name runs as itself.
    assert proj.nap.post_in(0.1, 0).get(timeout=20) == 0
    assert timer.replay_many(task="proj.oldest").done == 1
    assert parked.get(timeout=20) == [["parked"], {}]
    wait_until_empty()


def test_an_old_name_that_leads_to_no_task_of_the_worker_is_left_to_others(
    timer, former, start_worker, wait_until_empty
):
    lost = former("lost").post_in(0)
    worker = start_worker(pool="threads", env={"TASK_ALIASES": '{"proj.lost": "proj.nowhere"}'})
    worker.wait_for_log("does not know the task 'proj.lost'", timeout=10)
    assert lost.peek().state is not State.PARKED
    wait_until(lambda: bool(lost.cancel()), "the cancel")
    wait_until_empty()


def test_a_name_is_held_and_resumed_with_its_old_names(make_app, redis_url):
    timer = get_timer(make_app(dtimer_url=redis_url, dtimer_task_aliases=ALIASES))
    assert timer.hold(task="proj.note", why="slow")
    assert {(hold.name, hold.why) for hold in timer.holds()} == {
        ("proj.note", "slow"),
        ("proj.older", "slow"),
        ("proj.oldest", "slow"),
    }
    assert timer.resume(task="proj.oldest")
    assert timer.hold(task="proj.note")
    assert timer.resume(task="proj.note")
    assert timer.holds() == []
    for number in range(25):
        timer.hold(task=f"other{number}")
    with pytest.raises(TooManyHoldsError, match="27 tasks at most"):
        timer.hold(task="proj.note")
    assert len(timer.holds()) == 25
    for number in range(25):
        timer.resume(task=f"other{number}")
