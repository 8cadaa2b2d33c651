"""Celery is given events before they are due, and no task runs before that, whatever brings it to the pool."""

import os
import pickle
import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery, Task
from celery.concurrency.base import BasePool
from celery.concurrency.prefork import TaskPool as ProcessPool
from celery.concurrency.solo import TaskPool as SoloPool
from celery.concurrency.thread import TaskPool as ThreadPool
from rig.pools import pools
from rig.waiting import wait_until

from celery_dtimer.celery_patches import starting
from celery_dtimer.celery_patches.watching import Watch
from celery_dtimer.firing import earliness
from celery_dtimer.firing.earliness import Earliness
from celery_dtimer.firing.inbox import Inbox, Prepared
from celery_dtimer.firing.threads import HubThread
from celery_dtimer.message import StoredMessage
from celery_dtimer.timer.events import Delivery


@pytest.fixture
def app_file():
    return Path(__file__).parent / "apps" / "early.py"


@pytest.mark.parametrize("pool", pools("prefork", "threads"))
def test_no_task_runs_before_it_is_due(proj, start_worker, wait_for_records, wait_until_empty, pool):
    start_worker(pool)
    chance = random.Random(0)
    start = datetime.now(UTC) + timedelta(seconds=1)
    ways = [
        (proj.usual, {}),
        (proj.usual, {"expires": 3600}),
        (proj.usual, {"max_redeliveries": 0}),
        (proj.at_once, {}),
        (proj.planned, {}),
    ]
    posted = set()
    for number in range(60):
        task, options = ways[number % len(ways)]
        posted.add(task.post((), eta=start + timedelta(seconds=chance.uniform(0, 1)), **options).id)
    rows = wait_for_records(60)
    assert {row["id"] for row in rows} == posted
    assert min(row["at"] - row["due"] for row in rows) >= 0
    assert min(row["lateness"] for row in rows) >= 0
    wait_until_empty()


@pytest.fixture
def app():
    return Celery("app", broker="memory://")


def prepared(name="usual", due=float("inf"), token="1", event_id="x", **headers):
    delivery = Delivery(
        id=event_id, payload=b"", queue="q", due_ms=0, redeliveries=0, max_redeliveries=1, key=b"key", token=token
    )
    return Prepared(delivery, StoredMessage(b"", "", "", {"task": name, **headers}), 0.0, due)


def must_wait(app, *args, pool=BasePool, **fields):
    return Earliness(SimpleNamespace(app=app, pool=pool())).must_wait(prepared(*args, **fields))


def nothing():
    """Be a task."""


class OwnPool(BasePool):
    def apply_async(self, *args, **options):
        """Do what it likes."""


def test_celery_gets_what_it_hands_to_the_pool_last_of_all_before_that_is_due(app):
    app.task(nothing, name="usual")
    app.task(nothing, name="own request", Request="somewhere:Request")
    app.task(nothing, name="own strategy", Strategy="somewhere:strategy")
    assert not must_wait(app)
    assert must_wait(app, "own request")
    assert must_wait(app, "own strategy")
    assert must_wait(app, "unknown")
    assert must_wait(app, token="")
    assert must_wait(app, expires="2030-01-01T00:00:00+00:00")
    assert must_wait(app, pool=OwnPool)


def test_what_is_due_waits_for_nothing(app):
    assert not must_wait(app, "unknown", due=0.0)


def test_a_wait_that_ends_too_soon_goes_on(monkeypatch):
    now, slept = [100.0], []

    def sleep(*nothing):
        seconds = nothing[-1]
        assert not any(nothing[:-1])
        slept.append(seconds)
        now[0] += seconds / 2 if len(slept) == 1 else seconds + 0.125

    monkeypatch.setattr(starting, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(starting, "select", SimpleNamespace(select=sleep))
    monkeypatch.setattr(starting, "SLACK", 0.25)
    starting.sleep_until(101.0)
    assert slept == [0.75, 0.375, 0.0]


def test_the_thread_that_fires_sleeps_for_a_moment_only():
    due = time.monotonic() + 60
    earliness.wait_for(prepared(due=due))
    assert time.monotonic() < due


@pytest.fixture
def threads():
    pool = ThreadPool(limit=1)
    yield pool
    pool.on_stop()


#: Seconds that a task waits here before it starts: long enough to tell who waits.
WAIT = 0.5


def given(pool, events, wait=WAIT):
    """Give a task of the timer's that is due in so many seconds to a pool that is watched, and return that instant."""
    due = time.monotonic() + wait

    class Given:
        type = "usual"
        acknowledged = True
        message = SimpleNamespace(ended_well=False)

        def accepted(self, pid, instant):
            assert pid == os.getpid()
            events.append(("accepted", instant))

        def ended(self, *args, **options):
            """Be told of the end."""

    request = Given()
    calls = {"on_accepted": nothing_of, "on_cancelled": nothing_of, "on_ran": nothing_of, "on_free": nothing}
    Watch(ours=lambda it: it is request, due=lambda _: due, **calls).watch(pool)
    options = {"callback": request.ended, "error_callback": request.ended, "accept_callback": request.accepted}
    pool.on_apply(lambda: events.append(("ran", time.monotonic())), (), {}, **options)
    return due


def nothing_of(*args):
    """Do nothing with what is told."""


def test_in_threads_a_task_waits_in_its_own_and_begins_when_that_is_over(threads):
    events = []
    due = given(threads, events)
    # Whoever gives it to the pool goes on meanwhile.
    assert time.monotonic() < due
    assert not events
    wait_until(lambda: len(events) == 2, "the task's run")
    assert [name for name, _ in events] == ["accepted", "ran"]
    assert due <= events[0][1] <= events[1][1]


def test_in_prefork_a_task_waits_in_its_process():
    told = []

    class Processes(ProcessPool):
        """Not started: it is told what it would be given."""

    pool = Processes(limit=1)
    pool.on_apply = lambda target, args, kwargs, **options: told.append((target, args, kwargs))
    due = given(pool, [])
    assert time.monotonic() < due
    [(target, args, _)] = told
    # As it is sent to the process, but for the tracer.
    assert pickle.loads(pickle.dumps(target)) is starting.start_at
    assert args[0] == due
    target(due, lambda *args, **kwargs: told.append((time.monotonic(), args, kwargs)), 1, number=2)
    ran, *arguments = told[1]
    assert ran >= due
    assert arguments == [(1,), {"number": 2}]
    # What is due is given as it is.
    told.clear()
    given(pool, [], wait=0)
    assert told[0][0] is not starting.start_at


def test_elsewhere_it_waits_before_it_is_given_to_the_pool():
    events = []
    due = given(SoloPool(limit=1), events)
    assert [name for name, _ in events] == ["accepted", "ran"]
    assert due <= events[1][1] <= time.monotonic()


class OwnThreads(ThreadPool):
    def on_apply(self, *args, **options):
        """Start a task in its own way."""


class OwnProcesses(ProcessPool):
    def on_start(self):
        """Start in its own way."""


def test_a_pool_is_given_events_so_early_as_whoever_waits_may_sleep(threads):
    solo = earliness.lead(SoloPool(limit=1))
    assert earliness.lead(threads) == earliness.lead(ProcessPool(limit=1)) > solo
    assert earliness.lead(OwnThreads(limit=1)) == earliness.lead(OwnProcesses(limit=1)) == solo


def test_the_hub_has_a_turn_between_two_events_so_that_the_first_is_not_held_up_by_the_wait_for_the_second():
    inbox, fired = Inbox(), []

    def fire_next():
        entry = inbox.first()
        if entry is None:
            return False
        inbox.take(entry)
        fired.append(entry.delivery.id)
        return True

    inbox.put(prepared(due=0.0, event_id="due"))
    inbox.put(prepared(event_id="soon"))
    thread = HubThread(inbox, fire_next)
    turns = []
    for _ in range(3):
        thread._on_readable()
        turns.append(list(fired))
    thread.stop()
    assert turns == [["due"], ["due"], ["due", "soon"]]


def test_the_defaults_of_celery_are_those_that_are_looked_for():
    assert (Task.Request, Task.Strategy) == ("celery.worker.request:Request", "celery.worker.strategy:default")
