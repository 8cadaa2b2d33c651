"""Events that a worker can't run and others may: left to them, for less and less, and parked when nobody could."""

import pytest
from rig.outsider import Outsider
from rig.waiting import wait_until

from celery_dtimer import Post, State
from celery_dtimer.firing import refusals
from celery_dtimer.firing.refusals import KINDS, LONGEST, PACE, SHORTEST, Refusals
from celery_dtimer.message import StoredMessage, encode
from celery_dtimer.timer.events import Delivery

#: More than a worker of old remembered one by one.
MANY = 1500


def stored(task, event):
    return encode(StoredMessage(b"[[], {}, {}]", "application/json", "utf-8", {"task": task}), event, "celery")


@pytest.fixture
def outsider(timer_url):
    """One who posts what no task is: messages of their own making."""
    with Outsider(timer_url, queues=["celery"]) as outsider:
        yield outsider


def post_many(outsider, task, count=MANY):
    ids = [f"{task}-{number}" for number in range(count)]
    outsider.post_many(Post(stored(task, event), 0, id=event, queue="celery") for event in ids)
    return ids


def parked(timer, count, timeout=20):
    wait_until(lambda: timer.count().parked >= count, f"{count} parked events", timeout)


@pytest.mark.slow
def test_a_task_that_no_worker_knows_yet_waits_for_one_that_does(timer, outsider, start_worker, wait_until_empty):
    ids = post_many(outsider, "proj.newcomer", 20)
    old = start_worker(pool="threads", name="old")
    old.wait_for_log("is left to others", timeout=10)
    start_worker(pool="threads", name="new", env={"KNOWS_NEWCOMER": "1"})
    wait_until_empty(45)
    assert timer.peek(ids[0]) is None


@pytest.mark.slow
def test_many_events_of_an_unknown_task_take_one_line_and_are_all_parked_after_the_patience(
    timer, outsider, start_worker, expected_keys, proj
):
    expected_keys += ["{dt:tasks:0}:parked*", "{dt:tasks:0}:taken"]
    ids = post_many(outsider, "proj.forgotten")
    worker = start_worker(pool="threads", env={"UNKNOWN_TASK_PATIENCE": "4"})
    worker.wait_for_log("is left to others", timeout=10)
    known = proj.note.post_in(0)
    assert known.get(timeout=10) == [[], {}]
    assert timer.count().parked == 0
    parked(timer, MANY)
    info = timer.peek(ids[0])
    assert (info.state, info.reason, info.redeliveries) == (
        State.PARKED,
        "no worker knows the task 'proj.forgotten'",
        0,
    )
    about = [line for line in worker.logs().splitlines() if "proj.forgotten" in line]
    assert len(about) == 2, about
    assert "left to others" in about[0]
    assert "is parked" in about[1]


def test_a_message_of_a_newer_version_is_left_to_others_and_one_that_is_damaged_is_parked(
    timer, outsider, start_worker, expected_keys, proj
):
    expected_keys += ["{dt:tasks:0}:parked*", "{dt:tasks:0}:taken"]
    newer = [outsider.post(version + b"what only a newer worker reads", 0, queue="celery") for version in (b"3", b"9")]
    damaged = [
        outsider.post(payload, 0, queue="celery") for payload in (b"", b"1", b"2damaged", b"no message", b"\xff")
    ]
    worker = start_worker(pool="threads", env={"UNKNOWN_TASK_PATIENCE": "3"})
    parked(timer, len(damaged))
    assert all(timer.peek(event).state is State.PARKED for event in damaged)
    assert not any(timer.peek(event).state is State.PARKED for event in newer)
    assert proj.note.post_in(0).get(timeout=10) == [[], {}]
    parked(timer, len(damaged) + len(newer))
    assert [timer.peek(event).reason for event in newer] == [
        f"no worker knows version {version!r} of stored messages" for version in "39"
    ]
    assert worker.logs().count("is left to others") == 2


def test_no_id_and_no_name_forges_a_line_of_the_workers_log(timer, outsider, start_worker, expected_keys):
    expected_keys += ["{dt:tasks:0}:parked*", "{dt:tasks:0}:taken"]
    forged = "x\n[forged: INFO/MainProcess] dtimer: all is well \x1b[31m"
    outsider.post(b"damaged", 0, id=f"damaged {forged}", queue="celery")
    outsider.post(stored(f"no task {forged}", "id"), 0, id=f"unknown {forged}", queue="celery")
    worker = start_worker(pool="threads", env={"UNKNOWN_TASK_PATIENCE": "0"})
    parked(timer, 2)
    worker.wait_for_log("is left to others", timeout=10)
    assert worker.logs().count("all is well") > 2
    assert not [line for line in worker.logs().splitlines() if line.startswith("[forged")]
    assert "\x1b[31m" not in worker.logs()


# What the worker remembers, alone: it is asked at instants that a test can't wait for.


class Clock:
    def __init__(self, now=1e6):
        self.now = now

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(refusals, "time", clock)
    return clock


def delivery(clock, *, due=0.0, again=False):
    """A delivery that was due so many seconds ago."""
    return Delivery("id", b"", "celery", 0, 0, 20, b"id\xffkey", "token" if again else "key", clock.now - due)


def ask(kinds, clock, name="the task 'x'", **options):
    kind, _ = kinds.kind(name)
    return kinds.wait(kind, delivery(clock, **options))


def test_an_event_is_left_for_longer_and_longer_and_a_minute_in_the_end(clock):
    kinds = Refusals(3600.0)
    start, waits = clock.now, []
    while (seconds := ask(kinds, clock, due=clock.now - start, again=clock.now > start)) is not None:
        waits.append(seconds)
        clock.now += seconds
    assert waits[0] == SHORTEST
    assert waits[: waits.index(LONGEST)] == sorted(waits[: waits.index(LONGEST)])
    assert max(waits) == LONGEST
    assert len(waits) < 100
    assert 3600 < clock.now - start < 3600 + LONGEST + 1


def test_any_number_of_events_costs_no_more_a_second_than_a_few_thousand(clock):
    kinds = Refusals(7 * 86400.0)
    first = [ask(kinds, clock) for _ in range(50_000)]
    clock.now += 3600
    assert max(first) == pytest.approx(50_000 / PACE, abs=2)
    assert len(kinds._kinds) == 1
    again = [ask(kinds, clock, due=3600, again=True) for _ in range(1000)]
    assert min(again) >= LONGEST


def test_a_task_that_was_refused_long_ago_has_its_patience_for_each_event(clock):
    kinds = Refusals(3600.0)
    ask(kinds, clock)
    clock.now += 86_400
    assert ask(kinds, clock) == SHORTEST
    assert ask(kinds, clock, due=3000, again=True) is not None
    assert ask(kinds, clock, due=3700, again=True) is None


def test_an_event_that_nobody_could_claim_for_long_is_not_parked_for_that(clock):
    kinds = Refusals(3600.0)
    ask(kinds, clock)
    clock.now += 86_400
    assert ask(kinds, clock, due=7200) == SHORTEST
    clock.now += SHORTEST
    assert ask(kinds, clock, due=7200 + SHORTEST, again=True) is not None
    clock.now += 3600
    assert ask(kinds, clock, due=7200 + SHORTEST + 3600, again=True) is None


def test_more_names_than_a_worker_tells_apart_share_one_memory(clock):
    kinds = Refusals(60.0)
    news = [kinds.kind(f"the task {number}")[1] for number in range(3 * KINDS)]
    assert sum(news) == KINDS + 1
    assert len(kinds._kinds) == KINDS + 1
    clock.now += 61
    assert ask(kinds, clock, "the task that is the last straw", due=61, again=True) is None
