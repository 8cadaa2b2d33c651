"""join, leave and close, from any thread, amid each other, after each other, and in the child of a fork."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from rig.waiting import wait_until

from celery_dtimer import DTimer, NotListeningError
from celery_dtimer.timer.listening.listener import Listener


@pytest.fixture
def threads():
    """The listeners' threads that were not there before."""
    before = set(threading.enumerate())
    return lambda: [t for t in set(threading.enumerate()) - before if t.name.startswith("dtimer")]


def calls(client):
    """How many scripts the server has run."""
    return sum(row["calls"] for name, row in client.info("commandstats").items() if name.startswith("cmdstat_eval"))


def at_once(*actions):
    """Do all at the same instant, each in a thread of its own."""
    barrier = threading.Barrier(len(actions))

    def act(action):
        barrier.wait()
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(act, actions))


def test_joins_at_the_same_instant_make_one_listener(timer, threads):
    timer.on_event(timer.confirm)
    for _ in range(20):
        at_once(*[timer.join] * 8)
        assert sorted(t.name for t in threads()) == ["dtimer-listener", "dtimer-wake"]
        assert timer.leave()
        assert threads() == []


def test_a_timer_that_left_while_others_joined_sends_nothing_any_more(timer, threads, redis_url, redis_client):
    taken = []
    timer.on_event(taken.append)
    for _ in range(20):
        at_once(timer.join, timer.leave, timer.join, timer.close, timer.join)
        timer.close()
        assert threads() == []
    before = calls(redis_client)
    with DTimer(redis_url) as other:
        other.post(b"p", 0, id="x")
        assert other.peek("x").state == "pending"
        # The post, the question, and at most one EVAL more for each: nobody claims.
        assert calls(redis_client) - before <= 4
        other.on_event(lambda delivery: (taken.append(delivery), other.confirm(delivery)))
        other.join()
        wait_until(lambda: other.peek("x") is None, "the event to be confirmed")
    assert len(taken) == 1


def test_any_mix_of_calls_from_many_threads_ends_with_no_listener_and_no_event_lost(timer, threads, redis_url):
    taken = []
    timer.on_event(lambda delivery: (taken.append(delivery.id), timer.confirm(delivery)))
    errors = []
    timer.on_error(errors.append)

    def mix(seed):
        chance = random.Random(seed)
        for number in range(15):
            action = chance.choice([timer.join, timer.join, timer.leave, timer.close])
            assert action() in (None, True, False)
            timer.post(b"p", 0, id=f"{seed}-{number}")
            timer.max_events = chance.randrange(10)
            assert "DTimer" in repr(timer)

    at_once(*[lambda seed=seed: mix(seed) for seed in range(6)])
    timer.join()
    wait_until(lambda: timer.count().pending == timer.count().leased == 0, "all events")
    timer.close()
    assert threads() == []
    assert errors == []
    assert set(taken) == {f"{seed}-{number}" for seed in range(6) for number in range(15)}


def test_leave_says_whether_the_listener_has_ended_and_a_later_one_goes_on_waiting(timer, threads):
    entered, free = threading.Event(), threading.Event()
    answers = []

    @timer.on_event
    def ring(delivery):
        timer.confirm(delivery)
        answers.append(timer.leave())
        entered.set()
        free.wait()

    timer.post(b"p", 0)
    timer.join()
    assert entered.wait(20)
    # Within a handler the listener has not ended; nor has it for others, before the handler returns.
    assert answers == [False]
    assert timer.leave(0) is False
    assert at_once(lambda: timer.leave(0.05), lambda: timer.leave(0.05)) == [False, False]
    free.set()
    assert timer.leave(None) is True
    assert threads() == []


def test_join_while_it_leaves_starts_a_listener_of_its_own(timer, threads):
    entered, free = threading.Event(), threading.Event()
    rung = []

    @timer.on_event
    def ring(delivery):
        rung.append(delivery.id)
        timer.confirm(delivery)
        if delivery.id == "first":
            entered.set()
            free.wait()

    timer.post(b"p", 0, id="first")
    timer.join()
    assert entered.wait(20)
    assert timer.leave(0) is False
    timer.join()
    timer.post(b"p", 0, id="second")
    wait_until(lambda: rung == ["first", "second"], "the new listener to take the event")
    free.set()
    assert timer.leave()
    assert threads() == []


def test_a_signals_handler_may_leave_amid_a_join(timer, threads, monkeypatch):
    timer.on_event(timer.confirm)
    start = Listener.start

    def interrupted(listener):
        # As a signal's handler that runs between two lines of join(), in the same thread.
        timer.join()
        timer.leave()
        start(listener)

    monkeypatch.setattr(Listener, "start", interrupted)
    timer.join()
    monkeypatch.undo()
    assert timer.leave()
    assert threads() == []
    timer.join()
    timer.post(b"p", 0, id="x")
    wait_until(lambda: timer.peek("x") is None, "the event")
    assert timer.leave()


def test_a_thread_that_cannot_be_started_leaves_none_and_the_next_join_listens(timer, threads, monkeypatch):
    timer.on_event(timer.confirm)
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == "dtimer-listener":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="new thread"):
        timer.join()
    monkeypatch.undo()
    assert threads() == []
    timer.join()
    assert len(threads()) == 2
    assert timer.leave()


def test_a_timer_works_after_close_and_its_connections_are_its_own(redis_url, redis_client, threads):
    timer = DTimer(redis_url)
    connections = len(redis_client.client_list())
    rung = []
    timer.on_event(lambda delivery: (rung.append(delivery.id), timer.confirm(delivery)))
    for number in range(3):
        timer.post(b"p", 0, id=str(number))
        timer.join()
        wait_until(lambda number=number: timer.peek(str(number)) is None, "the event")
        timer.close()
        timer.close()
        wait_until(lambda: len(redis_client.client_list()) <= connections, "its connections to be closed")
    assert rung == ["0", "1", "2"]
    assert threads() == []


def test_close_lets_what_other_threads_ask_end_well(redis_url):
    timer = DTimer(redis_url)
    ends = time.monotonic() + 1

    def post():
        posted = 0
        while time.monotonic() < ends:
            timer.post(b"p", 60, id=f"{threading.get_ident()}-{posted}")
            posted += 1
        return posted

    def close():
        while time.monotonic() < ends:
            timer.close()

    posted = sum(count for count in at_once(post, post, post, close) if count)
    assert timer.count().pending == posted
    for event in timer.upcoming(limit=10_000):
        timer.cancel(event.id)
    while timer.count().pending:
        for event in timer.upcoming(limit=10_000):
            timer.cancel(event.id)
    timer.close()


def test_confirm_soon_of_a_timer_that_has_left_is_refused(timer):
    taken = []
    timer.on_event(taken.append)
    timer.post(b"p", 0, id="x")
    timer.join()
    wait_until(lambda: taken, "the event")
    assert timer.leave()
    with pytest.raises(NotListeningError, match="joined"):
        timer.confirm_soon(taken[0])
    assert timer.confirm(taken[0])


# --- forks

FORK = """
import os, sys, threading, time
from celery_dtimer import DTimer

url = sys.argv[1]
timer = DTimer(url)
seen = []
timer.on_event(lambda delivery: (seen.append(delivery.id), timer.confirm(delivery)))
timer.join()
timer.post(b"p", 0, id="before")

def wait(what, condition):
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up, what
        time.sleep(0.005)

wait("the first event", lambda: timer.peek("before") is None)
stop = threading.Event()

def hammer():
    # Some of these hold locks and connections at the instant of the fork.
    while not stop.is_set():
        timer.count()
        timer.join()
        timer.max_events = 7

hammering = [threading.Thread(target=hammer, daemon=True) for _ in range(3)]
for thread in hammering:
    thread.start()
for number in range(3):
    child = os.fork()
    if child == 0:
        try:
            seen.clear()
            assert "does not listen" in repr(timer), repr(timer)
            assert timer.leave() is True
            assert [t for t in threading.enumerate() if t.name.startswith("dtimer")] == []
            timer.queues = ("child",)
            timer.post(b"p", 0, id=f"child-{number}", queue="child")
            timer.join()
            assert timer.name is None and str(os.getpid()) in repr(timer), repr(timer)
            wait("the child's event", lambda: timer.peek(f"child-{number}") is None)
            assert seen == [f"child-{number}"], seen
            assert timer.leave() is True
            timer.close()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    timer.post(b"p", 0, id=f"parent-{number}")
    wait("the parent's event", lambda: timer.peek(f"parent-{number}") is None)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for thread in hammering:
    thread.join()
assert timer.leave() is True
assert seen == ["before", *(f"parent-{number}" for number in range(3))], seen
"""


def test_the_child_of_a_fork_does_not_listen_and_may_post_and_join_and_the_parent_is_not_disturbed(redis_url):
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK, redis_url],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


ORPHAN = """
import os, sys, time
from celery_dtimer import DTimer

timer = DTimer(sys.argv[1])
timer.on_event(print)
timer.join()
while not timer._listener._wake_thread._lines[0].blocked:
    time.sleep(0.005)
if os.fork():
    print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_child_does_not_keep_the_connection_open_that_its_dead_parent_was_woken_by(redis_url, redis_client):
    def blocked():
        return [row for row in redis_client.client_list() if row["cmd"] == "blpop"]

    process = subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", ORPHAN, redis_url],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert int(process.stdout.readline()) == process.pid
        assert len(blocked()) == 1
        process.kill()
        process.wait()
        # Redis hands no token to who is gone: it has noticed that the connection is closed, though the child lives.
        wait_until(lambda: blocked() == [], "the connection to be closed")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
