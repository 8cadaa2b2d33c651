"""Clients of the caller's in place of a URL: one that a timer can use works, any other is refused by a sentence."""

import pytest
import redis
import redis.asyncio
from redis.sentinel import Sentinel
from rig.waiting import wait_until

from celery_dtimer import DTimer, InvalidEventError, SettingsError


def client(url, **options):
    return redis.Redis.from_url(url, **options)


#: What is refused, made of a URL, and words of the sentence that says so.
REFUSED = {
    "decode_responses": (lambda url: client(url, decode_responses=True), "decode_responses, and payloads are bytes"),
    "decode_responses of a pool": (
        lambda url: redis.Redis(connection_pool=redis.ConnectionPool.from_url(url, decode_responses=True)),
        "decode_responses",
    ),
    "an encoding": (lambda url: client(url, encoding="utf-16"), "encoding='utf-16', and names are stored in utf-8"),
    "an encoding of some characters": (lambda url: client(url, encoding="ascii"), "encoding='ascii'"),
    "an encoding that is none": (lambda url: client(url, encoding="nonsense"), "encoding='nonsense'"),
    "one connection": (lambda url: client(url, single_connection_client=True), "single_connection_client"),
    "asyncio": (redis.asyncio.Redis.from_url, r"redis\.asyncio\.client\.Redis: .*give a redis\.Redis"),
    "asyncio of a cluster": (redis.asyncio.RedisCluster.from_url, r"redis\.asyncio\.cluster\.RedisCluster"),
    "a pool of asyncio": (redis.asyncio.ConnectionPool.from_url, r"redis\.asyncio\."),
    # It can't be made without a cluster.
    "redis-py's cluster": (lambda _: redis.RedisCluster.__new__(redis.RedisCluster), r"redis\+cluster://"),
    "sentinels": (lambda _: Sentinel([("127.0.0.1", 1)]), r"Sentinel: give what its master_for\(\) returns"),
    "a replica's": (lambda _: Sentinel([("127.0.0.1", 1)]).slave_for("x"), r"slave_for\(\), and replicas only read"),
    "a pool": (redis.ConnectionPool.from_url, r"give redis\.Redis\(connection_pool=\.\.\.\)"),
    "a pipeline": (lambda url: client(url).pipeline(), "Pipeline: it sends nothing"),
    "a list of URLs": (lambda url: [url], "a string, or a redis.Redis, not list"),
    "None": (lambda _: None, "not NoneType"),
    "a class": (lambda _: redis.Redis, r"or a redis\.Redis, not .*Meta|not type"),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_a_client_that_no_timer_can_use_is_refused(redis_url, make, words):
    with pytest.raises(InvalidEventError, match=words) as caught:
        DTimer(make(redis_url))
    assert caught.value.argument == "url_or_client"
    assert isinstance(caught.value, ValueError)


def test_a_url_in_bytes_is_refused_and_not_shown():
    with pytest.raises(InvalidEventError, match="not bytes") as caught:
        DTimer(b"redis://:hunter2@127.0.0.1/0")
    assert "hunter2" not in f"{caught.value}{caught.value.value}"


@pytest.mark.parametrize("option", ["decode_responses=true", "decode_responses=True", "encoding=utf-16"])
def test_a_url_with_such_an_option_is_refused_in_the_callers_words(redis_url, option):
    with pytest.raises(SettingsError, match=option.partition("=")[0]) as caught:
        DTimer(f"{redis_url}?{option}")
    assert str(caught.value).startswith("url_or_client")
    assert caught.value.setting == "url_or_client"


WORKING = {
    "plain": {},
    "protocol 3": {"protocol": 3},
    "protocol 2": {"protocol": 2},
    "an alias of UTF-8": {"encoding": "UTF8"},
    "health checks": {"health_check_interval": 1},
    "a timeout": {"socket_timeout": 2},
    "a name": {"client_name": "mine"},
}


@pytest.mark.parametrize("options", WORKING.values(), ids=WORKING)
@pytest.mark.parametrize("pool", [redis.ConnectionPool, redis.BlockingConnectionPool])
def test_a_client_that_works_does_all_that_a_timer_does(timer, redis_url, options, pool):
    client = redis.Redis(connection_pool=pool.from_url(redis_url, **options))
    taken = []
    with client, DTimer(client) as own:
        own.on_event(lambda delivery: (taken.append(delivery), own.confirm(delivery)))
        own.join()
        own.post("é", 60, id="ü")
        assert own.peek("ü").payload == "é".encode()
        assert [event.id for event in own.upcoming(payloads=True)] == ["ü"]
        assert own.count().pending == 1
        assert own.change_delay("ü", 0)
        wait_until(lambda: own.peek("ü") is None, "the event")
        assert own.leave()
    assert [delivery.payload for delivery in taken] == ["é".encode()]
    # The client is the caller's: it works after the timer was closed.
    assert redis.Redis.from_url(redis_url).ping()
