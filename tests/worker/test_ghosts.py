"""Requests that vanish from a worker: their events are neither held for long nor lost."""

import time
from pathlib import Path

import pytest
from outcome_runs import Run
from outcome_table import BY_NAME
from rig.pools import POOLS
from rig.waiting import wait_until

from celery_dtimer import State

CONFIRM_TIMEOUT = 3.0

#: Seconds that Celery may take to notice that its broker is gone, and to connect again, on a busy machine.
RECONNECT = 5.0
LATE, LIMITED = BY_NAME["returns, acks_late"], BY_NAME["waits longer than that for its rate limit, acks_late"]


@pytest.fixture(params=POOLS)
def pool(request):
    return request.param


@pytest.fixture
def app_file():
    return Path(__file__).parent / "apps" / "outcomes.py"


@pytest.fixture
def broker_transport():
    """One that a test may break."""
    return "redis node"


@pytest.fixture(autouse=True)
def no_garbage_collection(monkeypatch):
    """A request that vanishes is not part of a cycle: its event does not wait for the garbage collector."""
    monkeypatch.setenv("COLLECT_GARBAGE", "0")


@pytest.fixture
def run(worker_app, start_worker, pool):
    return Run(worker_app, start_worker, pool)


@pytest.fixture
def break_connection(celery_redis_broker):
    """Cut the worker off from its broker, which is back at once."""

    def cut(worker):
        lost = worker.logs().count("Connection to broker lost")
        celery_redis_broker.restart()
        wait_until(lambda: worker.logs().count("Connection to broker lost") > lost, "the loss to be noticed", 20)
        return time.time()

    return cut


def again(run, name):
    """The second start of a task."""
    return wait_until(lambda: run.rows(name, "start")[1:], f"{name} to start again", 20)[0]


def test_what_is_cancelled_because_the_broker_was_lost_runs_again(run, pool, break_connection, wait_until_empty):
    worker = run.worker(CONFIRM_TIMEOUT=str(CONFIRM_TIMEOUT), CANCEL_ON_LOSS="1")
    run.post(LATE, "cancelled", ("spin", 8))
    run.wait_for("cancelled")
    lost_at = break_connection(worker)
    if pool in ("threads", "solo"):
        # Celery can't cancel a task there: it runs on, and its lease with it.
        run.wait_for("cancelled", "end")
        wait_until_empty()
        assert len(run.rows("cancelled", "start")) == 1
        return
    second = again(run, "cancelled")
    # There is no other worker: this one has to notice the loss, and to connect again, before it claims.
    assert second["at"] - lost_at < CONFIRM_TIMEOUT + 1 + RECONNECT
    assert second["redelivered"] is True
    assert second["redeliveries"] == 1
    wait_until_empty()
    assert len(run.rows("cancelled", "start")) == 2
    assert not run.rows("cancelled", "end")[1:]


def test_what_waits_for_the_pool_when_the_broker_is_lost_runs_once(run, pool, break_connection, wait_until_empty):
    worker = run.worker(concurrency=1, CONFIRM_TIMEOUT=str(CONFIRM_TIMEOUT), MAX_EVENTS="6")
    run.post(LATE, "running", ("spin", 3))
    run.wait_for("running")
    names = [f"waiting {number}" for number in range(4)]
    for name in names:
        run.post(LATE, name, ())
    wait_until(lambda: all(run.peek(name).state is State.LEASED for name in names), "all to be claimed")
    lost_at = break_connection(worker)
    wait_until_empty(20)
    for name in ("running", *names):
        [start] = run.rows(name, "start")
        assert not start["redelivered"]
        # Solo notices the loss when its task has ended; and four tasks look at their events for 0.2 s each.
        assert start["at"] - lost_at < 3 + CONFIRM_TIMEOUT + 1 + RECONNECT


def test_what_waits_for_its_rate_limit_when_the_broker_is_lost_runs_once(run, break_connection, wait_until_empty):
    worker = run.worker(CONFIRM_TIMEOUT=str(CONFIRM_TIMEOUT))
    run.post(LIMITED, "the first")
    run.post(LIMITED, "in the bucket")
    run.wait_for("the first")
    wait_until(lambda: worker.logs().count("] received") == 2, "both to be received")
    lost_at = break_connection(worker)
    wait_until_empty(20)
    for name in ("the first", "in the bucket"):
        [start] = run.rows(name, "start")
        assert start["at"] - lost_at < CONFIRM_TIMEOUT + 1 + RECONNECT + 2  # a token comes every two seconds


def test_what_is_revoked_and_terminated_is_confirmed(run, wait_until_empty):
    run.worker(CONFIRM_TIMEOUT=str(CONFIRM_TIMEOUT))
    run.post(LATE, "revoked", ("spin", 2))
    run.wait_for("revoked")
    run.revoke("revoked", terminate=True)
    revoked_at = time.time()
    wait_until_empty()
    assert time.time() - revoked_at < CONFIRM_TIMEOUT + 1
    assert len(run.rows("revoked", "start")) == 1
