"""What is later than its grace is fired, dropped or parked, as its task says; what was delivered before is fired."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from celery import states

from celery_dtimer import InvalidEventError, dtimer_task
from celery_dtimer.extension import extension_of
from celery_dtimer.firing.misfires import Misfires
from celery_dtimer.timer.events import Delivery


def ago(seconds):
    return datetime.now(UTC) - timedelta(seconds=seconds)


def test_late_events_are_fired_dropped_or_parked_as_their_task_says(
    proj, timer, start_worker, wait_for_records, wait_until_empty
):
    dropped = [proj.fresh.post_at(ago(60), n) for n in range(3)] + [proj.gathered.post_at(ago(60))]
    parked = [proj.kept.post_at(ago(60), n) for n in range(3)]
    proj.note.post_at(ago(60), "fired")
    in_time = [task.post_in(0.2, "in time") for task in (proj.fresh, proj.gathered, proj.kept)]
    worker = start_worker(pool="threads")
    for result in in_time:
        assert result.get(timeout=20) == "in time"
    rows = wait_for_records(4)
    assert len(rows) == 4
    assert {result.state for result in dropped} == {states.REVOKED}
    assert [result.peek() for result in dropped] == [None] * 4
    assert {info.reason for info in (result.peek() for result in parked)} == {"later than its grace of 5 s"}
    assert worker.logs().count("later than its grace of 5 s; so is all else of it that is") == 3
    (report,) = proj.app.control.broadcast("dtimer", reply=True, timeout=5, limit=1)
    assert [each["dropped"] for each in report.values()] == [4]

    timer.replay(parked[0].id)  # due anew
    assert parked[0].get(timeout=20) == 0
    for result in parked[1:]:
        assert result.cancel()
    wait_until_empty()


def test_a_dropped_id_runs_when_it_is_posted_again(proj, start_worker, wait_until_empty, wait_for_records):
    start_worker(pool="threads")
    proj.fresh.post((1,), eta=ago(60), task_id="again")
    wait_until_empty()
    proj.fresh.post((2,), delay=0, task_id="again")
    (row,) = wait_for_records(1)
    assert row["id"] == "again"
    wait_until_empty()


@pytest.mark.parametrize(
    ("misfire", "grace", "lateness", "redeliveries", "is_late"),
    [
        ("drop", 5, 6, 0, True),
        ("drop", timedelta(seconds=5), 4, 0, False),
        ("drop", 0, 0.5, 0, True),
        ("drop", None, 59, 0, False),
        ("park", None, 61, 0, True),
        (None, 5, 6, 0, False),
        ("fire", 5, 6, 0, False),
        ("drop", 5, 6, 1, False),  # its task may have begun in time
        ("dorp", 5, 6, 0, False),
        ("drop", "5", 6, 0, False),
    ],
)
def test_a_task_says_how_late_is_too_late(make_app, redis_url, misfire, grace, lateness, redeliveries, is_late):
    app = make_app(dtimer_url=redis_url)

    @app.task(name="task")
    def task():
        pass

    task.dtimer_options = {"misfire": misfire, "grace": grace}
    misfires = Misfires(app.tasks, extension_of(app).settings)
    delivery = Delivery("x", b"", "q", 0, redeliveries, 20, b"x", "t", due_monotonic=time.monotonic() - lateness)
    assert (misfires.decide(delivery, {"task": "task"}) is not None) == is_late


def test_the_settings_are_the_defaults_of_all_tasks(make_app, redis_url):
    app = make_app(dtimer_url=redis_url, dtimer_misfire="park", dtimer_misfire_grace=timedelta(seconds=5))
    app.task(lateness, name="task")
    misfires = Misfires(app.tasks, extension_of(app).settings)
    late = Delivery("x", b"", "q", 0, 0, 20, b"x", "t", due_monotonic=time.monotonic() - 6)
    assert misfires.decide(late, {"task": "task"}) == ("park", 5.0)


def lateness():
    pass


def test_a_wrong_policy_is_refused_where_the_task_is_made_and_at_a_call(make_app, redis_url):
    for wrong in ({"misfire": "dorp"}, {"grace": -1}, {"grace": "5"}):
        with pytest.raises(InvalidEventError, match="must be"):
            dtimer_task(**wrong)(print)
    app = make_app(dtimer_url=redis_url)
    task = app.task(lateness, name="task")
    with pytest.raises(InvalidEventError, match=r"an option of the task: @dtimer_task\(grace=5\)"):
        task.post((), delay=1, grace=5)
