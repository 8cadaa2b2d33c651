"""What a worker gives back when it ends, and what is redelivered when it can't."""

import os
import signal

import pytest
from rig.outsider import Outsider
from rig.pools import pools
from rig.waiting import wait_until

from celery_dtimer import State

CONFIRM_TIMEOUT = 2.0


@pytest.fixture(params=pools("prefork", "threads"))
def pool(request):
    return request.param


@pytest.mark.parametrize("broker_transport", ["memory", pytest.param("filesystem", marks=pytest.mark.slow)])
def test_a_warm_shutdown_without_a_hub_finishes_what_runs(proj, start_worker, pool, broker_transport, wait_for_records):
    results = [proj.nap.post_in(0, 1.0) for _ in range(6)]
    worker = start_worker(pool=pool, concurrency=1, env={"CONFIRM_TIMEOUT": "300"})
    wait_for_records(1)
    worker.term()
    assert worker.wait() == 0
    started = [row["id"] for row in proj.records() if row["event"] == "start"]
    ended = [row["id"] for row in proj.records() if row["event"] == "end"]
    assert started == ended
    assert len(ended) < 6
    # The rest was given back: nobody holds it, so that a cancel says yes to it.
    for result in results:
        assert bool(result.cancel()) is (result.id not in ended)


def test_what_waits_in_a_killed_worker_runs_elsewhere(proj, start_worker, pool, wait_for_records, wait_until_empty):
    environment = {"CONFIRM_TIMEOUT": str(CONFIRM_TIMEOUT)}
    doomed = start_worker(pool=pool, concurrency=1, env=environment)
    posted = {proj.nap.post_in(0, 0.5).id for _ in range(4)}
    wait_for_records(1)
    doomed.kill()
    start_worker(pool=pool, concurrency=1, env=environment)
    rows = wait_for_records(4, "end", timeout=30)
    assert {row["id"] for row in rows} == posted
    wait_until_empty()


def test_a_frozen_worker_loses_its_lease_and_its_late_confirm_changes_nothing(
    proj, start_worker, wait_for_records, wait_until_empty
):
    environment = {"CONFIRM_TIMEOUT": "1"}
    frozen = start_worker(pool="threads", env=environment, name="frozen")
    result = proj.nap.post_in(0, 2.0)
    wait_for_records(1)
    frozen.pause()
    start_worker(pool="threads", env=environment, name="heir")
    wait_for_records(2)
    frozen.resume()
    wait_for_records(2, "end")
    assert result.get(timeout=10) == 2.0
    wait_until_empty()
    assert [row["event"] for row in proj.records()].count("start") == 2
    frozen.wait_for_log("leases lost: 1", timeout=10)
    [line] = [line for line in frozen.logs().splitlines() if "leases lost" in line]
    assert f"proj.nap[{result.id}]" in line


def test_a_lost_pool_process_gives_its_task_back(proj, start_worker, wait_for_records, wait_until_empty):
    start_worker(pool="prefork", concurrency=1, env={"CONFIRM_TIMEOUT": "60"})
    result = proj.nap.post_in(0, 1.0)
    [row] = wait_for_records(1)
    os.kill(row["pid"], signal.SIGKILL)
    assert result.get(timeout=20) == 1.0
    first, second = [row for row in proj.records() if row["event"] == "start"]
    assert first["pid"] != second["pid"]
    assert second["redelivered"] is True
    wait_until_empty()


def test_what_cannot_be_decoded_is_parked_with_the_reason(proj, start_worker, timer, timer_url, expected_keys):
    expected_keys += ["{dt:tasks:0}:parked*", "{dt:tasks:0}:taken"]
    with Outsider(timer_url) as outsider:
        event = outsider.post(b"no message of ours", 0, queue="celery")
    start_worker()
    info = wait_until(
        lambda: (seen := timer.peek(event)) and seen.state is State.PARKED and seen, "the event to be parked"
    )
    assert "can't be decoded" in info.reason
    assert info.payload == b"no message of ours"


def test_a_worker_with_a_wrong_setting_does_not_start(proj, start_worker):
    with pytest.raises(AssertionError, match="dtimer_confirm_timeout"):
        start_worker(env={"CONFIRM_TIMEOUT": "0"})
