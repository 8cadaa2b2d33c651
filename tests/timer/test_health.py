"""A Redis that may evict the timer's keys is reported, ignored or refused."""

import logging

import pytest

from celery_dtimer import DTimer, EvictionPolicyError


@pytest.fixture
def join(start_redis, caplog):
    """Joins a timer of a Redis with these options, and returns the warnings of that."""

    def join(mode=None, user="", setup=(), **options):
        server = start_redis(options={name.replace("_", "-"): value for name, value in options.items()})
        with server.client() as client:
            for command in setup:
                client.execute_command(*command)
        with DTimer(server.url.replace("://", f"://{user}"), **({"eviction_check": mode} if mode else {})) as timer:
            timer.on_event(timer.confirm)
            with caplog.at_level(logging.INFO, "celery_dtimer"):
                timer.join()
        return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]

    return join


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_a_policy_that_evicts_any_key_is_warned_of(join, policy):
    [warning] = join(maxmemory="100mb", maxmemory_policy=policy)
    for word in (policy, "104857600 bytes", "noeviction", "with url_or_client", "(eviction_check"):
        assert word in warning


def test_where_the_check_is_an_error_the_timer_does_not_join(join):
    with pytest.raises(EvictionPolicyError, match="allkeys-lru") as caught:
        join("error", maxmemory="100mb", maxmemory_policy="allkeys-lru")
    assert (caught.value.policy, caught.value.maxmemory) == ("allkeys-lru", 104857600)


def test_where_the_check_is_ignored_nothing_is_said(join):
    assert join("ignore", maxmemory="100mb", maxmemory_policy="allkeys-lru") == []


@pytest.mark.parametrize(
    ("maxmemory", "policy"),
    [("100mb", "noeviction"), ("100mb", "volatile-lru"), ("100mb", "volatile-ttl"), ("0", "allkeys-lru")],
)
def test_a_redis_that_keeps_the_timers_keys_is_not_reported(join, maxmemory, policy):
    assert join("error", maxmemory=maxmemory, maxmemory_policy=policy) == []


def test_a_redis_that_forbids_config_is_asked_by_info(join):
    setup = [("ACL", "SETUSER", "worker", "on", ">pw", "~*", "+@all", "-config")]
    with pytest.raises(EvictionPolicyError):
        join("error", "worker:pw@", setup, maxmemory="100mb", maxmemory_policy="allkeys-lru")


def test_a_redis_that_forbids_both_is_joined_all_the_same(join, caplog):
    setup = [("ACL", "SETUSER", "worker", "on", ">pw", "~*", "+@all", "-config", "-info")]
    assert join("error", "worker:pw@", setup, maxmemory="100mb", maxmemory_policy="allkeys-lru") == []
    assert "was not asked" in caplog.text


def test_a_redis_that_is_down_is_joined_all_the_same(start_redis, caplog):
    server = start_redis()
    server.stop()
    with DTimer(server.url, eviction_check="error") as timer, caplog.at_level(logging.INFO, "celery_dtimer"):
        timer.on_event(timer.confirm)
        timer.on_error(lambda error: None)
        timer.join()
    assert "was not asked" in caplog.text
