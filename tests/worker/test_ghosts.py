"""Requests that vanish from a worker: their events are neither held for long nor lost.

A worker that lost its broker claims nothing before it is connected again, which is Celery's to do and takes as long as
it takes. Its events are not to wait for that: an heir, which needs no broker, is there to take them.
"""

import time
from pathlib import Path

import pytest
from outcome_runs import Run
from outcome_table import BY_NAME
from rig.outsider import Outsider
from rig.pools import pools
from rig.waiting import wait_until

from celery_dtimer import State

CONFIRM_TIMEOUT = 3.0
LATE, LIMITED = BY_NAME["returns, acks_late"], BY_NAME["waits longer than that for its rate limit, acks_late"]


@pytest.fixture(params=pools("prefork", "gevent"))
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
    """Cut the worker off from its broker, which is back at once, or stays away."""

    def cut(worker, *, for_good=False):
        lost = worker.logs().count("Connection to broker lost")
        celery_redis_broker.kill() if for_good else celery_redis_broker.restart()
        wait_until(lambda: worker.logs().count("Connection to broker lost") > lost, "the loss to be noticed", 20)
        return time.time()

    return cut


class Heir:
    """A listener in this process that ends what it is given, and keeps the delivery and the instant by the id."""

    def __init__(self, url):
        self.taken = {}
        self._timer = Outsider(url, queues=["celery"], max_events=100, name="heir")
        self._timer.on_event(self._take)

    def _take(self, delivery):
        self.taken[delivery.id] = (time.time(), delivery)
        self._timer.confirm_soon(delivery)

    def join(self):
        self._timer.join()

    def close(self):
        self._timer.close()


@pytest.fixture
def heir(timer_url):
    heir = Heir(timer_url)
    yield heir
    heir.close()


def test_what_is_cancelled_because_the_broker_was_lost_runs_again(run, pool, break_connection, heir, wait_until_empty):
    worker = run.worker(CONFIRM_TIMEOUT=str(CONFIRM_TIMEOUT), CANCEL_ON_LOSS="1")
    run.post(LATE, "cancelled", ("spin", 8))
    run.wait_for("cancelled")
    event = run.ids["cancelled"]
    heir.join()
    if pool in ("threads", "solo"):
        # Celery can't cancel a task there: it runs on, and its lease with it.
        break_connection(worker)
        wait_until_empty(20)
        assert event not in heir.taken
        assert run.rows("cancelled", "end")
        return
    # Nor does it look what became of one while it has no broker: its event waits for that no more than for its lease.
    lost_at = break_connection(worker, for_good=True)
    wait_until_empty(20)
    assert not run.rows("cancelled", "end")
    again = run.rows("cancelled", "start")[1:]
    if again:
        # The worker claimed once more before it stopped claiming.
        [second] = again
        assert second["redelivered"] is True
        assert (second["at"], second["redeliveries"]) < (lost_at + CONFIRM_TIMEOUT + 1, 2)
    else:
        at, delivery = heir.taken[event]
        assert delivery.redeliveries == 1
        assert at - lost_at < CONFIRM_TIMEOUT + 1


@pytest.mark.parametrize("pool", ["prefork", "gevent", "eventlet"], indirect=True)
def test_what_is_cancelled_runs_again_though_the_result_backend_was_lost_too(
    run, broker_place, result_backend_url, break_connection, celery_redis_broker, wait_until_empty
):
    env = {
        "CANCEL_ON_LOSS": "1",
        "RESULT_BACKEND": broker_place.url,
        "RECORDS_URL": result_backend_url,
        "RESULT_BACKEND_OPTIONS": '{"retry_policy": {"max_retries": 1}}',
    }
    worker = run.worker(**env)
    run.post(LATE, "cancelled", ("spin", 8))
    run.wait_for("cancelled")
    break_connection(worker, for_good=True)
    not_written = "Failed to cancel", "Unrecoverable error"
    wait_until(lambda: any(line in worker.logs() for line in not_written), "the task's state not to be written", 20)
    celery_redis_broker.restart()
    most = 1
    if not_written[1] in worker.logs():
        most = 2  # what the worker had claimed when it ended may be given back once more
        # That was the end of the worker before Celery 5.7.
        worker.wait()
        run.worker(**env)
    wait_until_empty(20)
    [_, second] = run.rows("cancelled", "start")
    assert second["redelivered"]
    assert 1 <= second["redeliveries"] <= most


def test_what_waits_for_a_slot_when_the_broker_is_lost_runs_once(run, break_connection, wait_until_empty):
    worker = run.worker(concurrency=1, CONFIRM_TIMEOUT=str(CONFIRM_TIMEOUT), MAX_EVENTS="6")
    run.post(LATE, "running", ("spin", 3))
    run.wait_for("running")
    names = [f"waiting {number}" for number in range(4)]
    for name in names:
        run.post(LATE, name, ())
    # It waits in the timer, for whoever has a slot: a request of its own, that could vanish, it does not have yet.
    assert {run.peek(name).state for name in names} == {State.PENDING}
    break_connection(worker)
    wait_until_empty(30)
    for name in ("running", *names):
        [start] = run.rows(name, "start")
        assert not start["redelivered"]


def test_what_waits_for_its_rate_limit_when_the_broker_is_lost_is_taken_once(
    run, break_connection, heir, wait_until_empty
):
    worker = run.worker(CONFIRM_TIMEOUT=str(CONFIRM_TIMEOUT))
    run.post(LIMITED, "the first")
    run.post(LIMITED, "in the bucket")
    run.wait_for("the first")
    wait_until(lambda: worker.logs().count("] received") == 2, "both to be received")
    heir.join()
    lost_at = break_connection(worker)
    wait_until_empty(20)
    for name in ("the first", "in the bucket"):
        starts, taken = run.rows(name, "start"), heir.taken.get(run.ids[name])
        assert len(starts) + bool(taken) == 1
        at = taken[0] if taken else starts[0]["at"]
        assert at - lost_at < CONFIRM_TIMEOUT + 1


def test_what_is_revoked_and_terminated_is_confirmed(run, wait_until_empty):
    run.worker(CONFIRM_TIMEOUT=str(CONFIRM_TIMEOUT))
    run.post(LATE, "revoked", ("spin", 2))
    run.wait_for("revoked")
    run.revoke("revoked", terminate=True)
    revoked_at = time.time()
    wait_until_empty()
    assert time.time() - revoked_at < CONFIRM_TIMEOUT + 1
    assert len(run.rows("revoked", "start")) == 1
