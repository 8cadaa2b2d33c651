"""Timers that have joined: each event to one of them, never early, whatever breaks on the way."""

import contextlib
import itertools
import logging
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
import redis
from rig.waiting import wait_until
from seeds import FUTURE_MS, PAST_MS, at, event, seed

from celery_dtimer.timer.connecting.url import connect
from celery_dtimer.timer.dtimer import DTimer, Post
from celery_dtimer.timer.events import State
from celery_dtimer.timer.listening import shard_round as shard_listener

PROMISE = "{dt:0}:promise"


class Member:
    """A timer with its deliveries and errors; what it is given it confirms, unless told otherwise."""

    def __init__(self, url, *, act=None, **options):
        self.timer = DTimer(url, **options)
        self.deliveries = []
        self.instants_ms = []
        self.errors = []
        self._servers = connect(url)
        self._act = act or self.timer.confirm
        self.timer.on_event(self._on_event)
        self.timer.on_error(self.errors.append)

    def _on_event(self, delivery):
        with contextlib.suppress(redis.ConnectionError):
            seconds, microseconds = self._servers.of(PROMISE).client.time()
            self.instants_ms.append(seconds * 1000 + microseconds / 1000)
        self.deliveries.append(delivery)
        self._act(delivery)

    @property
    def ids(self):
        return [delivery.id for delivery in self.deliveries]

    def close(self):
        self.timer.close()
        self._servers.close()


def divide(delivery):
    """Fail with a delivery."""
    return 1 / 0


def keep(delivery):
    """Do nothing with a delivery: its lease lapses."""


@pytest.fixture
def no_takeover(monkeypatch):
    """Nobody looks for promises that lapsed: what is not handed on by a wake token stays where it is."""
    monkeypatch.setitem(DTimer.__init__.__kwdefaults__, "poll_interval", 60)


@pytest.fixture
def join(request, redis_url):
    """Starts members: ``join(act=..., **options of DTimer)``. They leave before the events are ended."""
    if "timer" in request.fixturenames:
        request.getfixturevalue("timer")
    with contextlib.ExitStack() as members:

        def join(url=redis_url, **options):
            member = Member(url, **options)
            members.callback(member.close)
            member.timer.join()
            return member

        yield join


@pytest.fixture(autouse=True)
def strangers():
    """Threads that an earlier test left behind, still blocked by a server that it froze."""
    _strangers.clear()
    _strangers.update(threading.enumerate())


_strangers = set()


def threads():
    living = set(threading.enumerate()) - _strangers
    return [thread for thread in living if thread.name.startswith("dtimer")]


def promised(client):
    """The instant that is promised for the default queue, and by which listener."""
    value = client.hget(PROMISE, "default")
    if value is None:
        return None, ""
    instant, _, by = value.decode().partition(" ")
    return int(instant), by


# --- join and leave


def test_join_and_leave_do_nothing_the_second_time(timer):
    timer.on_event(timer.confirm)
    assert timer.leave()
    timer.join()
    first = set(threads())
    timer.join()
    assert set(threads()) == first
    assert timer.leave()
    assert timer.leave()
    assert threads() == []


def test_a_timer_can_join_leave_and_join_again_and_leaves_no_thread(timer, redis_client):
    caught = []
    timer.on_event(caught.append)
    connections = len(redis_client.client_list())
    for _ in range(20):
        timer.join()
        timer.leave()
        assert threads() == []
    timer.post(b"p", 0, id="x", max_redeliveries=0)
    timer.join()
    wait_until(lambda: caught, "the event")
    timer.leave()
    assert threads() == []
    # A server may list a client after it was closed: Redis 6.2 does, one time in thirty.
    wait_until(lambda: len(redis_client.client_list()) <= connections + 1, "the listeners' connections to be closed")


def test_a_timer_that_has_left_is_given_nothing(join, timer):
    member = join()
    member.timer.post(b"p", 0, id="x")
    wait_until(lambda: member.ids == ["x"], "the first event")
    member.timer.leave()
    timer.post(b"p", 0, id="y")
    other = join()
    wait_until(lambda: other.ids == ["y"], "the second event")
    assert member.ids == ["x"]


def test_a_handler_may_let_its_timer_leave(timer):
    def once(delivery):
        timer.confirm(delivery)
        timer.leave()

    timer.on_event(once)
    errors = []
    timer.on_error(errors.append)
    timer.post(b"p", 0)
    timer.join()
    wait_until(lambda: threads() == [], "the threads to end")
    assert errors == []


def test_leave_hands_the_promise_on(no_takeover, join, timer, redis_client):
    seed(timer.shards[0], event("x", FUTURE_MS))
    first = join()
    wait_until(lambda: promised(redis_client)[1] == first.timer._listener.id, "the first's promise")
    second = join()
    wait_until(lambda: second.timer._listener._shards[0]._claims, "the second's first claim")
    assert promised(redis_client)[1] == first.timer._listener.id
    first.timer.leave()
    wait_until(lambda: promised(redis_client)[1] == second.timer._listener.id, "the second's promise")
    second.timer.leave()
    assert promised(redis_client)[1] == ""
    assert redis_client.llen("{dt:0}:wake:default") == 1


def test_leave_gives_back_what_was_claimed_ahead_and_not_delivered(join, timer, monkeypatch, now_ms):
    monkeypatch.setattr(shard_listener, "AHEAD_MS", 3000)
    member = join()
    timer.post(b"p", 2, id="x")
    due_ms = timer.peek("x").due_at.timestamp() * 1000
    wait_until(lambda: timer.peek("x").state is State.LEASED, "the event to be claimed ahead")
    member.timer.leave()
    assert now_ms() < due_ms
    info = timer.peek("x")
    assert (info.state, info.redeliveries) == (State.PENDING, 0)
    assert info.due_at.timestamp() * 1000 >= due_ms
    assert member.ids == []


def test_leave_does_not_lose_what_was_claimed_ahead_and_is_delivered_only_once(join, timer, monkeypatch, redis_client):
    monkeypatch.setattr(shard_listener, "AHEAD_MS", 3000)
    member = join()
    timer.post(b"p", 1, id="x", max_redeliveries=0)
    due_ms = timer.shards[0].server.client.zscore("{dt:0}:due:default", "x")
    wait_until(lambda: timer.peek("x") is None, "the event to be claimed ahead")
    member.timer.leave()
    assert member.ids == ["x"]
    if due_ms is not None:
        assert member.instants_ms[0] >= due_ms


def test_what_the_handler_was_given_stays_its_own_after_leave(join, timer):
    member = join(act=keep)
    timer.post(b"p", 0, id="x")
    wait_until(lambda: member.deliveries, "the event")
    member.timer.leave()
    assert timer.peek("x").state is State.LEASED
    assert member.timer.confirm(member.deliveries[0])
    assert timer.peek("x") is None


# --- deliveries


def test_each_of_many_events_is_delivered_once_among_several_listeners(join, timer, redis_client):
    members = [join(max_events=7) for _ in range(4)]
    ids = timer.post_many([Post(b"p", random.random(), id=str(i)) for i in range(400)])
    wait_until(lambda: sum(len(m.deliveries) for m in members) >= 400, "all events")
    wait_until(lambda: redis_client.exists("{dt:0}:events", "{dt:0}:taken") == 0, "all confirms")
    found = Counter(itertools.chain.from_iterable(member.ids for member in members))
    assert found == Counter(ids)
    assert all(delivery.redeliveries == 0 for member in members for delivery in member.deliveries)
    assert [member.errors for member in members] == [[]] * 4


def test_no_event_is_delivered_early_by_the_servers_clock(join, timer, now_ms):
    members = [join(max_events=50) for _ in range(2)]
    earliest = {}
    for i in range(300):
        delay = random.random() * 1.5
        earliest[str(i)] = now_ms() + delay * 1000
        timer.post(b"p", delay, id=str(i))
    wait_until(lambda: sum(len(member.deliveries) for member in members) == 300, "all events")
    for member in members:
        for delivery, instant_ms in zip(member.deliveries, member.instants_ms, strict=True):
            assert delivery.due_ms >= earliest[delivery.id]
            assert instant_ms >= delivery.due_ms


def test_an_event_that_was_moved_is_delivered_at_its_new_instant(join, timer):
    member = join()
    timer.post(b"p", 0.3, id="later")
    timer.post(b"p", 600, id="sooner")
    assert timer.change_delay("later", 0.8)
    assert timer.change_delay("sooner", 0.1)
    due_ms = {row.id: row.due_at.timestamp() * 1000 for row in timer.upcoming()}
    wait_until(lambda: member.ids == ["sooner", "later"], "both events in their new order")
    for delivery, instant_ms in zip(member.deliveries, member.instants_ms, strict=True):
        assert instant_ms >= delivery.due_ms
        assert delivery.due_ms == round(due_ms.get(delivery.id, delivery.due_ms))


def test_a_cancelled_event_is_not_delivered(join, timer):
    member = join()
    timer.post(b"p", 0.5, id="x")
    timer.post(b"p", 0.7, id="y")
    assert timer.cancel("x")
    wait_until(lambda: member.ids, "the event after the cancelled one")
    assert member.ids == ["y"]


def test_an_event_that_is_due_earlier_than_the_promise_wakes_the_listener(join, timer, redis_client):
    seed(timer.shards[0], event("far", FUTURE_MS))
    member = join()
    wait_until(lambda: promised(redis_client) == (FUTURE_MS - shard_listener.AHEAD_MS, member.timer._listener.id), "it")
    timer.post(b"p", 0, id="near")
    wait_until(lambda: member.ids == ["near"], "the earlier event", timeout=5)


def test_a_listener_is_given_events_of_its_own_queues_only(join, timer):
    one, two = join(queues=("one", "both")), join(queues=("two", "both"))
    timer.post_many([Post(b"p", 0, queue=queue) for queue in ("one", "two", "both", "none") for _ in range(5)])
    wait_until(lambda: len(one.deliveries) + len(two.deliveries) == 15, "the events of their queues")
    assert Counter(d.queue for d in one.deliveries)["one"] == Counter(d.queue for d in two.deliveries)["two"] == 5
    assert {d.queue for d in one.deliveries} <= {"one", "both"}
    assert {d.queue for d in two.deliveries} <= {"two", "both"}
    assert timer.count().pending == 5


def test_a_flood_in_one_queue_leaves_room_for_the_others(join, timer):
    for queue, count in (("flood", 60), ("a", 1), ("b", 1)):
        timer.post_many([Post(b"p", 0, queue=queue) for _ in range(count)])
    member = join(queues=("flood", "a", "b"), max_events=4)
    wait_until(lambda: len(member.deliveries) == 62, "all events")
    queues = [delivery.queue for delivery in member.deliveries]
    assert max(queues.index("a"), queues.index("b")) < 4 * 4


def test_confirm_soon_ends_the_event_without_waiting(join, timer, redis_client):
    def confirm_soon(delivery):
        member.timer.confirm_soon(delivery)

    member = join(act=confirm_soon)
    timer.post_many([Post(b"p", 0)] * 50)
    wait_until(lambda: redis_client.exists("{dt:0}:events", "{dt:0}:taken") == 0, "all confirms")
    assert len(member.deliveries) == 50


def test_confirm_soon_needs_a_timer_that_has_joined(timer, store, claim):
    seed(store, event("x"))
    with pytest.raises(RuntimeError, match="joined"):
        timer.confirm_soon(claim()[0])


# --- max_events


def test_a_listener_holds_at_most_max_events_which_can_be_changed_meanwhile(join, timer):
    member = join(act=keep, max_events=3, confirm_timeout=60)
    timer.post_many([Post(b"p", eta=at(PAST_MS + i), id=str(i)) for i in range(12)])
    claims = member.timer._listener._shards[0]

    def settles_at(count):
        wait_until(lambda: len(member.deliveries) >= count, f"{count} events")
        seen = claims._claims
        wait_until(lambda: claims._claims >= seen + 2, "two more claims")
        assert len(member.deliveries) == count
        assert timer.count().leased == count

    settles_at(3)
    member.timer.max_events = 5
    settles_at(5)
    member.timer.max_events = 0
    assert member.timer.max_events == 3
    for delivery in member.deliveries[:3]:
        assert member.timer.confirm(delivery)
    wait_until(lambda: len(member.deliveries) == 6, "the one event that there is room for")
    assert timer.count().leased == 3


def test_a_listener_that_nobody_wakes_looks_after_its_poll_interval(join, timer, redis_client):
    slow, quick = join(poll_interval=60), join(poll_interval=0.1)
    for member in (slow, quick):
        wait_until(lambda member=member: member.timer._listener._shards[0]._claims, "its first claim")
    for event_id in "abc":
        before = promised(redis_client)
        timer.post(b"p", 3600, id=event_id)
        wait_until(lambda before=before: promised(redis_client) != before, "a new promise")
        wait_until(lambda: promised(redis_client)[1], "somebody to take it")
        redis_client.zadd("{dt:0}:due:default", {event_id: PAST_MS})  # behind everybody's back
        wait_until(lambda event_id=event_id: event_id in quick.ids, "the one who looks to find it")
    assert slow.ids == []


def test_what_a_full_listener_leaves_goes_to_another(no_takeover, join, timer):
    full = join(act=keep, max_events=1, confirm_timeout=60)
    timer.post_many([Post(b"p", 0)] * 10)
    wait_until(lambda: full.deliveries, "the first event")
    other = join()
    wait_until(lambda: len(other.deliveries) == 9, "the others")
    timer.post(b"p", 0)
    wait_until(lambda: len(other.deliveries) == 10, "one more event")
    assert len(full.deliveries) == 1


def test_a_listener_that_becomes_full_wakes_another_for_what_it_leaves(no_takeover, join, timer):
    full = join(act=keep, max_events=1, confirm_timeout=60)
    wait_until(lambda: full.timer._listener._shards[0]._claims, "its first claim")
    other = join(max_events=100)
    wait_until(lambda: other.timer._listener._shards[0]._claims, "the other's first claim")
    for _ in range(20):
        timer.post_many([Post(b"p", 0)] * 5)
    wait_until(lambda: len(full.deliveries) + len(other.deliveries) == 100, "all events", timeout=5)
    assert len(full.deliveries) <= 1


def test_a_full_listener_goes_on_as_soon_as_it_has_room(no_takeover, join, timer):
    full = join(act=keep, max_events=1, confirm_timeout=60)
    timer.post_many([Post(b"p", 0)] * 5)
    for count in range(1, 6):
        wait_until(lambda count=count: len(full.deliveries) == count, f"{count} events", timeout=5)
        assert full.timer.confirm(full.deliveries[-1])


def test_a_listener_that_leaves_amid_a_batch_gives_the_rest_back_uncounted(join, timer):
    def leave(delivery):
        member.timer.confirm(delivery)
        member.timer.leave()

    timer.post_many([Post(b"p", eta=at(PAST_MS + i), id=str(i)) for i in range(5)])
    member = join(act=leave)
    wait_until(lambda: timer.count().pending == 4 and threads() == [], "the rest to be given back")
    assert member.ids == ["0"]
    assert [timer.peek(str(i)).state for i in range(1, 5)] == [State.PENDING] * 4
    assert [timer.peek(str(i)).redeliveries for i in range(1, 5)] == [0] * 4


# --- handlers that fail


def test_a_handler_that_raises_is_reported_and_the_event_comes_again(join, timer):
    def fail_once(delivery):
        if not delivery.redeliveries:
            raise ValueError("first time")
        member.timer.confirm(delivery)

    member = join(act=fail_once)
    timer.post(b"p", 0, id="x")
    wait_until(lambda: [d.redeliveries for d in member.deliveries] == [0, 1], "the redelivery")
    wait_until(lambda: timer.peek("x") is None, "the confirm")
    (error,) = member.errors
    assert str(error) == "first time"


def test_one_handler_that_raises_does_not_hold_the_other_events_up(join, timer):
    def fail_for_x(delivery):
        if delivery.id == "x":
            raise ValueError("x")
        member.timer.confirm(delivery)

    member = join(act=fail_for_x)
    timer.post_many([Post(b"p", 0, id=event_id) for event_id in ("x", "y", "z")])
    wait_until(lambda: {"y", "z"} <= set(member.ids), "the others")
    wait_until(lambda: timer.peek("y") is timer.peek("z") is None, "their confirms")


def test_an_event_whose_handler_always_fails_is_parked_with_what_it_raised(join, timer):
    def fail(delivery):
        raise ValueError("always")

    member = join(act=fail)
    timer.post(b"p", 0, id="x", max_redeliveries=1)
    wait_until(lambda: timer.peek("x").state is State.PARKED, "the event to be parked")
    assert "ValueError('always')" in timer.peek("x").reason
    assert len(member.deliveries) == 2


def test_without_an_error_handler_errors_are_logged(timer, caplog):
    caplog.set_level(logging.ERROR)
    timer.on_event(divide)
    timer.post(b"p", 0, id="x")
    timer.join()
    wait_until(lambda: "ZeroDivisionError" in caplog.text, "the log line")
    timer.leave()


# --- leases that lapse, promises that lapse


def test_a_lapsed_lease_is_redelivered_by_another_listener(join, timer):
    first = join(act=keep, confirm_timeout=0.2, name="first")
    timer.post(b"p", 0, id="x")
    wait_until(lambda: first.deliveries, "the first delivery")
    first.timer.leave()
    second = join()
    wait_until(lambda: second.deliveries, "the redelivery", timeout=5)
    assert second.deliveries[0].redeliveries == 1
    assert not first.timer.confirm(first.deliveries[0])


def test_a_lapsed_lease_is_redelivered_to_a_listener_that_was_there_all_along(join, timer):
    first = join(act=keep, confirm_timeout=0.3)
    timer.post(b"p", 0, id="x")
    wait_until(lambda: len(first.deliveries) == 3, "two redeliveries", timeout=5)
    assert [delivery.redeliveries for delivery in first.deliveries] == [0, 1, 2]


def test_a_renewed_lease_is_not_redelivered(join, timer):
    member = join(act=keep, confirm_timeout=0.5)
    timer.post(b"p", 0, id="x")
    (delivery,) = wait_until(lambda: member.deliveries, "the delivery")
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert member.timer.renew(delivery)
        time.sleep(0.05)
    # After a renewal the listener holds it still, and so can send its confirm.
    member.timer.confirm_soon(delivery)
    wait_until(lambda: timer.peek("x") is None, "the confirm")
    assert len(member.deliveries) == 1


def test_a_listener_whose_connections_are_killed_goes_on(join, timer, redis_client):
    member = join()
    timer.post(b"p", 0, id="before")
    wait_until(lambda: member.ids == ["before"], "the first event")
    for _ in range(3):
        redis_client.client_kill_filter(_type="normal", skipme=True)
        timer.shards[0].server.client.connection_pool.disconnect()
        timer.post(b"p", 0.1, on_conflict="keep", id="after")
        wait_until(lambda: "after" in member.ids, "the event after the kill", timeout=5)
        wait_until(lambda: timer.peek("after") is None, "its confirm")
        member.deliveries.clear()


CHILD = """
import sys, time
from celery_dtimer.timer.dtimer import DTimer
timer = DTimer(sys.argv[1])
timer.on_event(timer.confirm)
timer.join()
print(timer._listener.id, flush=True)
time.sleep(300)
"""


def test_a_frozen_process_that_holds_the_promise_does_not_hold_up_the_others(join, timer, redis_url, redis_client):
    with subprocess.Popen([sys.executable, "-c", CHILD, redis_url], stdout=subprocess.PIPE) as child:
        try:
            child_id = child.stdout.readline().decode().strip()
            timer.post(b"p", 2, id="x")
            wait_until(lambda: promised(redis_client)[1] == child_id, "the promise of the process")
            child.send_signal(signal.SIGSTOP)
            member = join()
            wait_until(lambda: member.ids == ["x"], "the event", timeout=7)
            assert member.instants_ms[0] >= member.deliveries[0].due_ms
            # The frozen one waits on the wake list too, and Redis may give it the token.
            for i in range(3):
                timer.post(b"p", 0, id=f"y{i}")
                wait_until(lambda i=i: member.ids[-1] == f"y{i}", "an event posted meanwhile", timeout=5)
        finally:
            child.kill()


def test_a_frozen_process_that_holds_a_lease_loses_it(join, timer, redis_url):
    code = CHILD.replace("timer.confirm", "lambda delivery: print(delivery.id, flush=True)")
    code = code.replace("DTimer(sys.argv[1])", "DTimer(sys.argv[1], confirm_timeout=0.5)")
    with subprocess.Popen([sys.executable, "-c", code, redis_url], stdout=subprocess.PIPE) as child:
        try:
            child.stdout.readline()
            timer.post(b"p", 0, id="x")
            assert child.stdout.readline() == b"x\n"
            child.send_signal(signal.SIGSTOP)
            member = join()
            wait_until(lambda: member.ids == ["x"], "the redelivery", timeout=7)
            assert member.deliveries[0].redeliveries >= 1
        finally:
            child.kill()


# --- Redis breaks


def test_a_listener_survives_script_flush(join, timer, redis_client):
    member = join()
    for i in range(5):
        timer.post(b"p", 0, id=str(i))
        redis_client.script_flush()
        wait_until(lambda i=i: str(i) in member.ids, f"event {i}", timeout=5)
    wait_until(lambda: redis_client.exists("{dt:0}:events", "{dt:0}:taken") == 0, "all confirms")
    assert member.errors == []


def test_a_restart_of_redis_is_reported_once_and_the_listener_goes_on(join, start_redis):
    server = start_redis()
    member = join(server.url)
    member.timer.post(b"p", 0, id="before")
    wait_until(lambda: member.ids == ["before"], "the first event")
    server.stop()
    wait_until(lambda: member.errors, "the error")
    wait_until(lambda: member.timer._listener._shards[0].failures > 3, "a few more attempts")
    assert len(member.errors) == 1
    assert isinstance(member.errors[0], redis.ConnectionError)
    server.start()
    member.timer.post(b"p", 0, id="after")
    wait_until(lambda: member.ids == ["before", "after"], "the event after the restart", timeout=5)
    wait_until(lambda: not member.timer._listener._shards[0].failures, "the listener to recover")
    server.stop()
    wait_until(lambda: len(member.errors) == 2, "the error of the second failure")


def test_events_that_redis_kept_over_a_restart_are_delivered(join, start_redis):
    server = start_redis(options={"appendonly": "yes", "appendfsync": "always"})
    member = join(server.url)
    member.timer.post(b"p", 1.5, id="x")
    server.restart()
    wait_until(lambda: member.ids == ["x"], "the event", timeout=7)
    assert member.instants_ms[0] >= member.deliveries[0].due_ms


def test_a_listener_that_starts_without_redis_begins_when_there_is_one(join, start_redis):
    server = start_redis()
    server.stop()
    member = join(server.url)
    wait_until(lambda: member.errors, "the error")
    server.start()
    member.timer.post(b"p", 0, id="x")
    wait_until(lambda: member.ids == ["x"], "the event", timeout=5)


def test_leave_ends_while_redis_is_down(join, start_redis):
    server = start_redis()
    member = join(server.url)
    wait_until(lambda: member.timer._listener._shards[0]._claims, "the first claim")
    server.stop()
    member.timer.leave()
    assert threads() == []


def test_a_confirm_that_redis_did_not_answer_is_sent_again(join, start_redis):
    server = start_redis(options={"appendonly": "yes", "appendfsync": "always"})
    client = server.client()

    def act(delivery):
        server.stop()
        member.timer.confirm_soon(delivery)

    member = join(server.url, act=act, confirm_timeout=60)
    member.timer.post(b"p", 0, id="x")
    wait_until(lambda: member.errors, "the error")
    server.start()
    wait_until(lambda: client.exists("{dt:0}:events", "{dt:0}:taken") == 0, "the confirm", timeout=5)
    client.close()
    assert member.ids == ["x"]
