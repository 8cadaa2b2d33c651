"""Workers of a Redis that may evict the timer's keys, that is down, or that has too few replicas."""

import time

import pytest
from rig.brokers import BrokerPlace
from rig.plugin import BROKER_DATABASE
from rig.waiting import wait_until

from celery_dtimer import NotReplicatedError, State


@pytest.fixture
def server(start_redis):
    return start_redis()


@pytest.fixture
def timer_url(server):
    return server.url


@pytest.fixture
def settings():
    return {}


@pytest.fixture
def broker_place(redis_server, redis_url, settings):
    return BrokerPlace(redis_server.url_of(BROKER_DATABASE), settings=settings)


class TestEvicting:
    @pytest.fixture
    def server(self, start_redis):
        return start_redis(options={"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"})

    def test_a_worker_warns_and_starts(self, start_worker, proj, wait_for_records):
        worker = start_worker()
        assert worker.logs().count("maxmemory-policy allkeys-lru") == 1
        proj.note.post_in(0)
        wait_for_records(1)

    @pytest.mark.parametrize("settings", [{"dtimer_eviction_check": "error"}], ids=["error"])
    def test_a_worker_that_takes_it_for_an_error_does_not_start(self, start_worker):
        with pytest.raises(AssertionError, match="ended before it was ready") as caught:
            start_worker()
        assert "EvictionPolicyError" in str(caught.value)
        assert "set its policy to noeviction" in str(caught.value)

    @pytest.mark.parametrize("settings", [{"dtimer_eviction_check": "ignore"}], ids=["ignore"])
    def test_a_worker_that_ignores_it_says_nothing(self, start_worker):
        assert "maxmemory" not in start_worker().logs()


@pytest.mark.parametrize("settings", [{"dtimer_eviction_check": "error"}], ids=["error"])
def test_a_worker_starts_while_the_timers_redis_is_down(start_worker, server, proj, wait_for_records):
    server.stop()
    worker = start_worker()
    worker.wait_for_log("the timer's Redis failed", timeout=20)
    server.start()
    proj.note.post_in(0)
    wait_for_records(1)


@pytest.mark.parametrize("settings", [{"dtimer_poll_interval": 60}], ids=["polls"])
def test_a_worker_that_nobody_wakes_looks_no_sooner_than_it_is_told(
    start_worker, server, proj, timer, wait_for_records
):
    start_worker()
    found = proj.note.post_in(3600)
    with server.client() as client:
        wait_until(
            lambda: not client.hget("{dt:tasks:0}:promise", "celery").endswith(b" "), "its promise to wake for that"
        )
        client.zadd("{dt:tasks:0}:due:celery", {found.id: 1})  # behind its back
        time.sleep(2.5)
        assert timer.peek(found.id).state is State.PENDING
    proj.note.post_in(0)
    wait_for_records(2)


@pytest.mark.parametrize("settings", [{"dtimer_wait_replicas": 1, "dtimer_wait_timeout": 0.05}], ids=["wait"])
def test_a_retry_that_no_replica_has_is_logged_and_its_delivery_not_parked(
    start_worker, proj, timer, wait_for_records, wait_until_empty
):
    worker = start_worker()
    with pytest.raises(NotReplicatedError) as caught:
        proj.stubborn.post_in(0, 3, 0.2)
    rows = wait_for_records(3)
    wait_until_empty()
    assert {row["id"] for row in rows} == set(caught.value.event_ids)
    assert worker.logs().count("is retried: event") == 2
