"""The server's clock is set back and forth, as by a failover to a host with another clock.

Events are early by the step at most, late by the step at most, and nothing waits for ever.
"""

import random
import time

import pytest
from rig.faketime import GRAIN
from rig.waiting import wait_until

from celery_dtimer import DTimer, State

MINUTES = 300.0  # a step, in seconds
ROUND = 4.0  # seconds: a claim at least each second, and a machine that is busy


@pytest.fixture
def timer_url(server):
    return server.url


class Member(DTimer):
    """A timer that listens, and remembers when it was given what."""

    def __init__(self, url, **options):
        super().__init__(url, **options)
        self.seen = {}
        self.on_event(self._see)

    def _see(self, delivery):
        self.seen[delivery.id] = time.monotonic()
        self.confirm(delivery)


@pytest.fixture
def member(server):
    with Member(server.url, confirm_timeout=1) as member:
        member.join()
        yield member


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


def test_a_step_forward_delivers_what_is_due_by_the_new_clock_and_nothing_else(member, server_clock, machine_time):
    member.post("due by the step", 250, id="early")
    member.post("due after the step", MINUTES + 1.5, id="after")
    member.post("due long after it", 3 * MINUTES, id="far")
    due = {event.id: event.due_at.timestamp() for event in member.upcoming()}
    server_clock.step_to(MINUTES)
    wait_until(lambda: {"early", "after"} <= set(member.seen), "both to be delivered")
    for event_id, seen in member.seen.items():
        assert machine_time(seen) + MINUTES > due[event_id] - GRAIN
    assert "far" not in member.seen
    assert member.peek("far").state is State.PENDING


def test_a_step_back_puts_off_by_the_step_and_new_posts_are_on_time(member, server_clock, server_now, machine_time):
    member.post("promised", 2.5, id="before")
    due_before = member.peek("before").due_at.timestamp()
    server_clock.step_to(-MINUTES)
    member.post("posted after the step", 3.0, id="after")
    due_after = member.peek("after").due_at.timestamp()
    wait_until(lambda: "after" in member.seen, "the new event to be delivered")
    assert machine_time(member.seen["after"]) - MINUTES > due_after - GRAIN
    # The listener's own clock has passed the instant that it had promised to wake at.
    assert set(member.seen) == {"after"}
    assert member.peek("before").due_at.timestamp() == due_before > server_now() + MINUTES / 2
    server_clock.step_to(0)
    wait_until(lambda: "before" in member.seen, "the old event to be delivered")
    assert machine_time(member.seen["before"]) > due_before - GRAIN


def test_a_promise_of_a_listener_that_died_before_a_step_back_holds_nothing_up(
    server, server_clock, start_listener, client
):
    with Member(server.url, confirm_timeout=1) as heir:
        promising = start_listener(server.url, 0)
        heir.post("promised by who dies", 60, id="far")
        # "at_ms listener": without a listener, it waits for one.
        wait_until(lambda: client.hget("{dt:0}:promise", "default").split()[1:], "the listener to promise", 20)
        promising.kill()
        server_clock.step_to(-MINUTES)
        heir.join()
        heir.post("posted after the step", 0.5, id="after")
        wait_until(lambda: "after" in heir.seen, "the new event to be delivered")
        server_clock.step_to(60)
        wait_until(lambda: "far" in heir.seen, "the old event to be delivered")


def test_a_lease_lapses_as_much_later_as_the_clock_was_set_back(server, server_clock, start_listener, machine_time):
    back = 3.0
    with Member(server.url, confirm_timeout=1) as heir:
        holding = start_listener(server.url, 0, hold=True)
        heir.post("held by who dies", 0.1, id="held")
        wait_until(lambda: holding.rows, "it to be held")
        holding.kill()
        lapses_at = heir.peek("held").until.timestamp()
        server_clock.step_to(-back)
        heir.join()
        wait_until(lambda: "held" in heir.seen, "it to be redelivered", back + 1 + ROUND)
        assert machine_time(heir.seen["held"]) - back > lapses_at - GRAIN


def test_a_lease_that_is_renewed_after_a_step_back_lapses_as_ever(
    proj, start_worker, timer, server_clock, server_now, wait_for_records
):
    worker = start_worker(env={"CONFIRM_TIMEOUT": "2"})
    result = proj.nap.post_in(0.1, 60)
    wait_for_records(1)
    server_clock.step_to(-MINUTES)
    wait_until(lambda: timer.peek(result.id).until.timestamp() < server_now() + 2, "the lease to be renewed")
    worker.kill()
    start_worker("threads", env={"CONFIRM_TIMEOUT": "2"})
    # By the new clock it is not due for minutes: it was once, and is not held until then.
    [_, second] = wait_for_records(2)
    assert second["redeliveries"] == 1


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_runs_over_a_step_forward_runs_once_and_leaves_nothing(
    proj, start_worker, server_clock, wait_for_records, wait_until_empty, pool
):
    for name in ("one", "two"):
        start_worker(pool, name=name)
    # The leases are renewed after 3.3 s only, and the other worker claims once a second.
    naps = {proj.nap.post_in(0.1, 5).id, proj.nap.post_in(0.1, 5).id}
    wait_for_records(2)
    server_clock.step_to(MINUTES)
    wait_for_records(2, "end")
    wait_until_empty()
    assert {row["id"] for row in proj.records()} == naps
    assert len(proj.records()) == 4


def test_a_lease_of_who_died_before_a_step_forward_is_taken_when_the_living_have_had_time_to_renew(
    server, server_clock, start_listener
):
    holding = start_listener(server.url, 0, confirm_timeout=30, hold=True)
    with Member(server.url, confirm_timeout=2, queues=("default", "own")) as heir:
        heir.post("held by who dies", 0.1, id="held")
        wait_until(lambda: holding.rows, "it to be held")
        heir.join()
        heir.post("tells the heir the time", 0, id="own", queue="own")
        wait_until(lambda: "own" in heir.seen, "the heir to listen")
        holding.kill()
        stepped = time.monotonic()
        server_clock.step_to(MINUTES)
        wait_until(lambda: "held" in heir.seen, "it to be redelivered")
        assert heir.seen["held"] - stepped > 2


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_workers_run_all_events_through_steps_in_both_directions(
    proj, start_worker, server_clock, machine_time, wait_for_records, wait_until_empty, pool
):
    for name in ("one", "two"):
        start_worker(pool, name=name)
    chance = random.Random(0)
    posted = {proj.note.post_in(chance.uniform(0, 3)).id for _ in range(60)}
    posted |= {proj.note.post_in(chance.uniform(0, MINUTES)).id for _ in range(20)}
    retried = proj.stubborn.post_in(0.5, 3, 0.3)
    posted.add(retried.id)
    for step in (120, -60, MINUTES, -MINUTES, 0):
        before = time.monotonic()
        server_clock.step_to(step)
        wait_until(lambda since=before: time.monotonic() > since + 1.2, "a round of claims under this clock")
    # In the end all of it is due by the clock.
    server_clock.step_to(2 * MINUTES)
    wait_until(lambda: {row["id"] for row in proj.records()} == posted, "all of them to run", 30)
    wait_until_empty()
    for row in proj.records():
        assert machine_time(row["monotonic"]) + 2 * MINUTES > row["due"] - GRAIN
        assert row["lateness"] >= 0
