"""What becomes of an event, by what became of its task: every outcome, in every pool, in real workers."""

import signal
from pathlib import Path

import celery
import pytest
from outcome_runs import Run, run_long_rows, run_losses, run_rows
from outcome_table import LAPSED, LONG, LOSSES, NEWEST, RELEASED, ROWS, SHUTDOWNS, table
from rig.pools import pools
from rig.waiting import wait_until

from celery_dtimer import State


@pytest.fixture(params=pools("prefork"))
def pool(request):
    return request.param


@pytest.fixture
def app_file():
    return Path(__file__).parent / "apps" / "outcomes.py"


@pytest.fixture
def run(worker_app, start_worker, pool):
    return Run(worker_app, start_worker, pool)


@pytest.fixture
def check(pool, record_property):
    """Compare what became of the events with the table, and have it reported."""

    def compare(rows, outcomes):
        for row in rows:
            record_property("outcome", [row.name, pool, outcomes[row.name]])
        expected = {row.name: row.here(pool) for row in rows}
        for name, either in expected.items():
            if outcomes[name] in either.split(" or "):
                expected[name] = outcomes[name]
        assert outcomes == expected

    return compare


def test_the_event_of_a_task_goes_where_the_table_says(run, check, pool, expected_keys):
    expected_keys.append("{dt:tasks:0}:*")  # what is parked, and what is left pending
    check(ROWS, run_rows(run))
    assert run.timer.count().leased == 0
    for row in (row for row in ROWS if row.deed[:1] == ("spin",)):
        assert bool(run.rows(row.name, "end")) is not row.is_cut_short(pool), row.name
    for name, error in (
        ("raises, acks_late, acks_on_failure_or_timeout = False", "ValueError: as the table says"),
        ("Reject(requeue=False), acks_late", "celery.exceptions.Reject: ('as the table says', False)"),
        ("a body that can't be decoded", "kombu.exceptions.DecodeError: "),
        ("task that no worker has known for an hour", ""),
    ):
        [parked] = run.timer.parked(id=run.ids[name])
        assert (parked.error or "").startswith(error), name
        assert bool(parked.error) == bool(error), name
    [first, again] = run.rows("Reject(requeue=True), acks_late", "start")
    assert again["at"] - first["at"] >= 0.5, "a requeued event is released with a backoff"


def test_a_lease_lasts_as_long_as_its_task_runs_or_waits_in_the_worker(run, check):
    check(LONG, run_long_rows(run))
    for name in (row.name for row in LONG if "limit" in row.name):
        [first], [second] = run.rows(f"{name}: the first", "start"), run.rows(name, "start")
        # (Before kombu 5.6, two run at once if none had run for long.)
        assert not NEWEST or abs(second["at"] - first["at"]) > 1.5, "the rate limit had no effect"


def test_the_event_of_a_lost_process_goes_where_the_table_says(run, check, pool):
    outcomes = run_losses(run)
    if pool != "prefork":
        # Nobody is left to release anything: what is redelivered had lapsed.
        outcomes = {name: LAPSED if outcome == RELEASED else outcome for name, outcome in outcomes.items()}
    check(LOSSES, outcomes)


@pytest.mark.parametrize(
    "way",
    [pytest.param(way, id=way.name, marks=() if "warm" in way.name else pytest.mark.slow) for way in SHUTDOWNS],
)
def test_a_shutdown_ends_or_gives_back_what_a_worker_holds(run, check, way, pool):
    if pool == "solo" and way.signals == ("SIGQUIT",) and celery.VERSION < (5, 6):
        pytest.skip("with that signal, a worker of Celery 5.5 that is solo fails its task, and goes on")
    # The leases would last a minute: what the heir runs was given back, not lapsed.
    worker = run.worker(concurrency=1, SOFT_SHUTDOWN=str(way.soft), CONFIRM_TIMEOUT="60", MAX_EVENTS="4")
    running, waiting = way.running, way.waiting
    # What waits for a slot is not kept, but what waits for its rate limit is: the first of it takes the token.
    run.post(waiting, "the first")
    run.wait_for("the first", "end")
    run.post(waiting)
    wait_until(lambda: worker.logs().count("] received") == 2, "the second to be received")
    run.post(running, deed=("spin", way.seconds))
    run.wait_for(running.name)
    hostname = worker.hostname()
    if not way.signals:
        run.app.control.shutdown()
    for number, name in enumerate(way.signals):
        if number:
            wait_until(lambda: "Warm shutdown" in worker.logs(), "the first signal to be dealt with", 20)
        worker.signal(getattr(signal, name))
    worker.wait()
    held = [name for name in run.ids if (info := run.peek(name)) is not None and info.state is State.LEASED]
    run.worker(CONFIRM_TIMEOUT="60")
    run.settle()
    assert not held, "leased still by a worker that has ended"
    check(
        (running, waiting),
        {running.name: run.outcome(running.name), waiting.name: run.returned(waiting.name, hostname)},
    )


def test_the_docs_show_this_table():
    text = (Path(__file__).parents[2] / "docs" / "explanation" / "outcomes.md").read_text(encoding="utf-8")
    shown = text.partition("<!-- outcomes:begin -->")[2].partition("<!-- outcomes:end -->")[0]
    assert shown.strip().splitlines() == table().splitlines()
