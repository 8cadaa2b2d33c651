"""Workers, listeners and posters whose clocks are an hour off: the server's clock alone counts."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from rig.faketime import GRAIN
from rig.recipes import IMPORTED
from rig.waiting import wait_until

from celery_dtimer import DTimer, Post

HOUR = 3600


@pytest.mark.parametrize("pool", ["prefork", "threads"])
@pytest.mark.parametrize("offset", [HOUR, -HOUR])
def test_a_worker_fires_when_it_is_due_by_the_servers_clock(
    proj, start_worker, make_clock, machine_time, wait_until_empty, pool, offset
):
    clock = make_clock(offset)
    worker = start_worker(pool=pool, env=clock.environment)
    clock.used_by(worker.pid)
    first = proj.note.post_in(1, "in")
    second = proj.note.post_at(datetime.now(UTC) + timedelta(seconds=1.2), "at")
    third = proj.stubborn.post_in(0.2, 3, 0.7)
    calling = proj.calls.post_in(0.2, 0.6)
    called = calling.get(timeout=20)
    assert [result.get(timeout=20) for result in (first, second, third)] == [[["in"], {}], [["at"], {}], 2]
    assert proj.app.AsyncResult(called).get(timeout=20) == [[0.6], {}]
    # As by an operator who sets it right, and far too much so.
    clock.step_to(-offset)
    fourth = proj.note.post_in(0.3, "set")
    assert fourth.get(timeout=20) == [["set"], {}]
    wait_until_empty()
    rows = proj.records()
    assert len(rows) == 8
    for row in rows:
        off = -offset if row["id"] == fourth.id else offset
        assert abs(row["at"] - machine_time(row["monotonic"]) - off) < 1, "its clock was not off"
        late = machine_time(row["monotonic"]) - row["due"]
        assert late > -GRAIN
        assert 0 <= row["lateness"] < late + GRAIN
    runs = [row for row in rows if row["id"] == third.id]
    for before, after in pairwise(runs):
        assert after["due"] > machine_time(before["monotonic"]) + 0.7 - GRAIN
    [outer] = [row for row in rows if row["id"] == calling.id]
    [inner] = [row for row in rows if row["id"] == called]
    assert inner["due"] > machine_time(outer["monotonic"]) + 0.6 - GRAIN


def test_listeners_share_the_events_and_take_over_from_one_that_is_killed(redis_url, start_listener, machine_time):
    with DTimer(redis_url) as timer:
        holding = start_listener(redis_url, 2 * HOUR, hold=True)
        held = timer.post_many([Post(b"p", number / 10) for number in range(5)])
        wait_until(lambda: {row["id"] for row in holding.rows} >= set(held), "one to hold them", 20)
        holding.kill()
        confirming = ahead, behind = start_listener(redis_url, HOUR), start_listener(redis_url, -HOUR)
        posted = {*held}

        def both_came_in():
            posted.add(timer.post(b"p", 0.05))
            return ahead.rows and behind.rows

        wait_until(both_came_in, "both to be given some", 20)
        posted.update(timer.post_many([Post(b"p", 0.1 + number / 50) for number in range(50)]))

        def all_came():
            return {row["id"] for listener in confirming for row in listener.rows} == posted

        wait_until(all_came, "all events to be delivered", 20)
        wait_until(lambda: sum(vars(timer.count()).values()) == 0, "all to be confirmed")
        rows = [row for listener in confirming for row in listener.rows]
        assert len(rows) == len(posted)
        assert {row["id"] for row in rows if row["redeliveries"]} >= set(held)
        for row in [*rows, *holding.rows]:
            assert machine_time(row["monotonic"]) > row["due"] - GRAIN
        for offset, listener in ((HOUR, ahead), (-HOUR, behind)):
            for row in listener.rows:
                assert abs(row["wall"] - machine_time(row["monotonic"]) - offset) < 1, "its clock was not off"


@pytest.mark.parametrize("offset", [HOUR, -HOUR])
def test_a_poster_counts_delays_by_the_servers_clock_and_says_instants_by_its_own(
    worker_app, timer, make_clock, offset
):
    before = time.time()
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "call.py")],
        env={
            **os.environ,
            **worker_app.environment,
            "PYTHONPATH": f"{worker_app.folder}:{IMPORTED}",
            **make_clock(offset).environment,
        },
        capture_output=True,
        check=False,
        timeout=30,
    )
    after = time.time()
    assert done.returncode == 0, done.stderr.decode()
    said = json.loads(done.stdout)
    assert before + offset < said["wall"] < after + offset
    due = {name: timer.peek(task_id).due_at.timestamp() for name, task_id in said["ids"].items()}
    for name in ("post_in", "countdown"):
        assert before + 300 <= due[name] < after + 300 + GRAIN
    for name in ("post_at", "eta"):
        assert 0 <= due[name] - said["instant"] < GRAIN
    for task_id in said["ids"].values():
        assert timer.cancel(task_id)
