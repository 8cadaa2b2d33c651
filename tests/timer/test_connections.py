"""More threads than a pool has connections wait for one; who got none is told that nothing has happened."""

import contextlib
import threading
from inspect import Parameter, signature

import pytest
import redis
from redis.exceptions import ConnectionError as NoConnection
from rig.waiting import wait_until

from celery_dtimer import DTimer, PostManyError, TimerUnavailableError
from celery_dtimer.timer.connecting import server as servers
from celery_dtimer.timer.posts import Post

THREADS = 40

TAKES_NO_NAME = signature(redis.ConnectionPool.get_connection).parameters["command_name"].default is not Parameter.empty


def together(action):
    """Call it in many threads at once; returns what each came back with."""
    start = threading.Barrier(THREADS)
    results = [None] * THREADS

    def run(number):
        start.wait()
        try:
            results[number] = action(number)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the test shows it
            results[number] = exc

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def capped(redis_url, given, most):
    if given == "a URL":
        return contextlib.nullcontext(f"{redis_url}{'&' if '?' in redis_url else '?'}max_connections={most}")
    return redis.Redis.from_pool(redis.ConnectionPool.from_url(redis_url, max_connections=most))


def take(pool):
    # Before redis-py 5.3 it wants the name of a command, which newer ones deprecate.
    return pool.get_connection() if TAKES_NO_NAME else pool.get_connection("_")


@contextlib.contextmanager
def all_in_use(timer):
    """Somebody else uses all connections."""
    pool = timer.shards[0].server.client.connection_pool
    taken = []
    with contextlib.suppress(NoConnection):
        while True:
            taken.append(take(pool))
    assert len(taken) == pool.max_connections
    yield
    for connection in taken:
        pool.release(connection)


@pytest.mark.parametrize("given", ["a URL", "a client"])
def test_threads_wait_for_a_connection_and_the_listener_does_not(redis_url, redis_client, given):
    caught = []
    with capped(redis_url, given, 2) as place, DTimer(place) as timer:
        before = len(redis_client.client_list())
        timer.on_event(lambda delivery: (caught.append(delivery.id), timer.confirm_soon(delivery)))
        timer.join()
        posted = together(lambda number: timer.post(b"p", 0, id=str(number)))
        assert posted == [str(number) for number in range(THREADS)]
        wait_until(lambda: len(caught) == THREADS, "the events")
        assert together(lambda number: timer.peek(f"nobody-{number}")) == [None] * THREADS
        # The listener and its wake thread have one each.
        assert len(redis_client.client_list()) <= before + 2 + 2
        with all_in_use(timer):
            with DTimer(redis_url) as other:
                other.post(b"p", 0, id="meanwhile")
            wait_until(lambda: "meanwhile" in caught, "the event, while no connection is free")


@pytest.mark.parametrize("given", ["a URL", "a client"])
def test_who_gets_no_connection_is_told_that_nothing_has_happened(redis_url, monkeypatch, given):
    with capped(redis_url, given, 2) as place, DTimer(place) as timer:
        timer.post(b"p", 60, id="there")
        monkeypatch.setattr(servers, "PATIENCE", 0.1)
        with all_in_use(timer):
            for what, act in {
                "event new is not stored": lambda: timer.post(b"p", 60, id="new"),
                "the peek of there did not happen": lambda: timer.peek("there"),
                "the cancel of there did not happen": lambda: timer.cancel("there"),
            }.items():
                with pytest.raises(
                    TimerUnavailableError, match=f"was not asked .*all its 2 connections.*: {what}"
                ) as told:
                    act()
                assert told.value.asked is False
            with pytest.raises(PostManyError) as many:
                timer.post_many([Post(b"p", 60, id="one"), Post(b"p", 60, id="two")])
            assert many.value.unknown == ()
        assert [event.id for event in timer.upcoming()] == ["there"]
        timer.cancel("there")
