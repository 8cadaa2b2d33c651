"""A server that was the master and is a replica now: its connections are left, and the URL leads to the new one.

The URL is that of a Unix socket's name, which a failover points elsewhere, as a proxy or a DNS name would.
"""

import contextlib

import pytest
import redis
from rig.waiting import wait_until

from celery_dtimer import DTimer, TimerUnavailableError


class Pair:
    """Two servers, and a socket's name that leads to one of them."""

    def __init__(self, start_redis, folder):
        self.old, self.new = start_redis(unix=True), start_redis(unix=True)
        self.name = folder / "redis.sock"
        self.url = f"unix://{self.name}"
        self.point_to(self.old)

    def point_to(self, server):
        link = self.name.with_suffix(".new")
        link.symlink_to(server._socket)
        link.replace(self.name)

    def fail_over(self):
        """The old server does not close its connections: it only takes no writes any more."""
        self.point_to(self.new)
        with self.old.client() as client:
            client.replicaof("127.0.0.1", 1)


def blocks(server):
    """Whether a wake thread blocks on this server."""
    with server.client() as watcher:
        return "blpop" in {row["cmd"] for row in watcher.client_list() if "b" in row["flags"]}


@pytest.fixture
def pair(start_redis, tmp_path):
    return Pair(start_redis, tmp_path)


def test_a_post_to_a_replica_is_unavailable_and_the_next_one_goes_to_the_new_master(pair):
    with DTimer(pair.url) as timer:
        timer.post(b"p", 60, id="x")
        pair.fail_over()
        with pytest.raises(TimerUnavailableError, match="read only") as caught:
            timer.post(b"p", 60, id="y")
        assert caught.value.event_ids == ("y",)
        timer.post(b"p", 60, id="y")
        assert timer.peek("x") is None
        assert timer.peek("y") is not None


def test_so_is_a_post_that_waits_for_replicas(pair):
    with DTimer(pair.url, wait_replicas=1, wait_timeout=0.01) as timer:
        with pytest.raises(RuntimeError, match="0 replicas"):
            timer.post(b"p", 60, id="x")
        pair.fail_over()
        with pytest.raises(TimerUnavailableError):
            timer.post(b"p", 60, id="y")
        with pytest.raises(RuntimeError, match="0 replicas"):
            timer.post(b"p", 60, id="y")
        assert timer.peek("y") is not None


def test_a_confirm_is_unavailable_too_and_the_connection_left(pair):
    with DTimer(pair.url) as timer:
        timer.post(b"p", 60, id="x")
        pair.fail_over()
        for change in (timer.cancel, lambda event_id: timer.change_delay(event_id, 1)):
            pair.point_to(pair.old)
            timer.shards[0].server.client.connection_pool.disconnect()
            timer.peek("x")
            pair.point_to(pair.new)
            with pytest.raises(TimerUnavailableError):
                change("x")
            assert timer.peek("x") is None


@pytest.mark.parametrize("given", ["a URL", "a client"])
def test_a_listener_and_its_wake_thread_move_to_the_new_master(pair, given):
    ids, errors = [], []
    client = contextlib.nullcontext(pair.url) if given == "a URL" else redis.Redis.from_url(pair.url)
    with client as place, DTimer(place) as timer:

        @timer.on_event
        def confirm(delivery):
            ids.append(delivery.id)
            timer.confirm(delivery)

        timer.on_error(errors.append)
        timer.post(b"p", 0, id="before")
        timer.join()
        wait_until(lambda: ids == ["before"], "the first event")
        pair.fail_over()
        wait_until(lambda: errors, "the error")
        with DTimer(pair.url) as poster:
            poster.post(b"p", 0, id="after")
        wait_until(lambda: ids == ["before", "after"], "the event of the new master")
        wait_until(lambda: blocks(pair.new), "the wake thread to block there", 20)
        timer.leave()
    assert len(errors) == 1


def test_a_wake_thread_that_did_not_block_during_the_failover_moves_too(pair):
    held, errors = [], []
    with DTimer(pair.url, max_events=1, confirm_timeout=60) as timer:
        timer.on_event(held.append)
        timer.on_error(errors.append)
        timer.join()
        wait_until(lambda: blocks(pair.old), "the wake thread to block")
        timer.post(b"p", 0)
        wait_until(lambda: held, "the event that fills the listener")
        timer.post(b"p", 0)
        wait_until(lambda: not blocks(pair.old), "the wake thread to be idle")
        pair.fail_over()
        timer.max_events = 2
        wait_until(lambda: errors, "the error")
        wait_until(lambda: blocks(pair.new), "the wake thread to block on the new master", 20)
        timer.leave()
