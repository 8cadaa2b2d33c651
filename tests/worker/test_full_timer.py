"""A worker whose timer's Redis is at its maxmemory runs what was posted, and takes its own tasks' retries."""

from pathlib import Path

import pytest
from rig.plugin import RESULT_DATABASE
from rig.waiting import wait_until

from celery_dtimer import State, TimerFullError

POOLS = ("prefork", *(pytest.param(pool, marks=pytest.mark.slow) for pool in ("threads", "solo")))


@pytest.fixture
def app_file():
    return Path(__file__).parent / "apps" / "full.py"


@pytest.fixture
def timer_server(start_redis):
    return start_redis(options={"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always"})


@pytest.fixture
def timer_url(timer_server):
    return timer_server.url


@pytest.fixture
def fill(timer_server):
    """Takes the timer's Redis to its maxmemory: the broker's and the results' is another one."""

    def fill():
        with timer_server.client() as client:
            client.config_set("maxmemory", 1)

    return fill


@pytest.mark.parametrize("pool", POOLS)
def test_what_was_posted_runs_and_ends_whatever_its_outcome(proj, start_worker, fill, timer, wait_until_empty, pool):
    plain = [proj.note.post_in(0.3, number) for number in range(20)]
    # Longer than the confirm timeout, so that it is renewed.
    nap = proj.naps.post_in(0.3, 5)
    rejected = proj.rejects.post_in(0.3)
    cancelled = proj.note.post_in(600, "never")
    fill()
    # It starts, and loads its scripts, in a Redis that is full already.
    worker = start_worker(pool=pool)
    assert [result.get(timeout=20) for result in plain] == list(range(20))
    assert nap.get(timeout=20) == 0
    parked = wait_until(lambda: (info := rejected.peek()) and info.state is State.PARKED and info, "it to be parked")
    assert parked.redeliveries == 1
    for result in (rejected, cancelled):
        assert result.cancel()
    wait_until_empty()
    assert worker.running


@pytest.mark.parametrize("pool", POOLS)
def test_a_retry_of_a_fired_task_is_stored_whenever_it_was_acknowledged(
    proj, start_worker, fill, wait_until_empty, pool
):
    early = proj.retries.post_in(0.3, 4, 0.2)
    late = proj.retries_late.post_in(0.3, 4, 0.2)
    fill()
    start_worker(pool=pool)
    assert [early.get(timeout=20), late.get(timeout=20)] == [3, 3]
    wait_until_empty()


@pytest.mark.parametrize("pool", POOLS)
def test_a_task_that_posts_fails_with_the_refusal_and_its_worker_lives(
    proj, start_worker, fill, wait_until_empty, pool
):
    posting = [task.post_in(0.3) for task in (proj.posts, proj.posts_late)]
    after = proj.note.post_in(2, "after them")
    fill()
    worker = start_worker(pool=pool)
    for result in posting:
        with pytest.raises(TimerFullError, match="maxmemory"):
            result.get(timeout=20)
    assert after.get(timeout=20) == "after them"
    wait_until_empty()
    assert worker.running


def test_a_retry_while_the_timers_redis_is_away_goes_to_the_broker(
    proj, start_worker, timer_server, redis_server, wait_until_empty
):
    worker = start_worker()
    result = proj.retries_when_told.post_in(0.1)
    with redis_server.client(RESULT_DATABASE) as told:
        wait_until(lambda: told.exists("waits"), "the task to run")
        timer_server.kill()
        told.rpush("go", "1")
        assert result.get(timeout=30) == "retried"
        assert "goes to the broker" in worker.logs()
        # The first run's confirm may have come too late: then its event is redelivered.
        told.rpush("go", "1")
        timer_server.restart()
        wait_until_empty()


def test_a_call_that_takeover_would_post_goes_to_the_broker(proj, start_worker, fill):
    proj.app.conf.dtimer_takeover = 0
    fill()
    start_worker()
    assert proj.note.apply_async((1,), countdown=0.2).get(timeout=20) == 1
    assert proj.note.delay(2).get(timeout=20) == 2
