"""A plain DTimer with much room claims in halves: the handlers of one run while Redis claims the other."""

from collections import Counter
from datetime import UTC, datetime

import pytest
import redis
from rig.waiting import wait_until

from celery_dtimer import DTimer, Post
from celery_dtimer.timer.events import Counts
from celery_dtimer.timer.listening.handing_over import IN_HALVES

EVENTS = 5 * IN_HALVES

LEASES = "{dt:0}:lease:default"


@pytest.fixture
def flood(timer):
    """A timer with many events, all due; it has room for some of them."""
    timer.max_events = IN_HALVES
    due = datetime.now(UTC)
    timer.post_many(Post(b"p", eta=due, id=str(number)) for number in range(EVENTS))
    return timer


def test_one_half_is_claimed_while_the_handlers_of_the_other_run(flood, redis_client):
    seen = []

    @flood.on_event
    def handle(delivery):
        if not seen:
            wait_until(lambda: redis_client.zcard(LEASES) == IN_HALVES, "the other half to be claimed")
            seen.append(flood._listener.in_flight)
        flood.confirm_soon(delivery)

    flood.join()
    wait_until(lambda: flood.count() == Counts(0, 0, 0), "all to be confirmed")
    assert seen == [IN_HALVES // 2]  # the listener had not heard of the other half yet


def kill_connections(client):
    client.client_kill_filter(_type="normal", skipme=True)


def fail(client):
    raise ValueError("this handler fails")


def exit_(client):
    raise SystemExit


def nothing(client):
    pass


@pytest.mark.parametrize("amid", [nothing, fail, exit_, kill_connections])
def test_whatever_happens_amid_the_handlers_all_events_run_and_never_more_are_held(flood, redis_client, amid):
    ran, held, errors = Counter(), set(), []
    flood.on_error(errors.append)

    @flood.on_event
    def handle(delivery):
        ran[delivery.id] += 1
        if sum(ran.values()) % 50 == 20:
            held.add(redis_client.zcard(LEASES))
        if sum(ran.values()) == 100:
            amid(redis_client)
        flood.confirm_soon(delivery)

    flood.join()
    wait_until(lambda: len(ran) == EVENTS and flood.count() == Counts(0, 0, 0), "all to be confirmed", 20)
    assert max(held) <= IN_HALVES
    assert len(errors) >= (amid in (fail, exit_))
    assert sum(ran.values()) == EVENTS + (amid in (fail, exit_))


def test_a_client_that_is_watched_hands_over_all_the_same(flood, monkeypatch):
    ran, seen = Counter(), []
    execute = redis.client.Pipeline.execute
    monkeypatch.setattr(
        redis.client.Pipeline, "execute", lambda *args, **how: seen.append(args) or execute(*args, **how)
    )

    @flood.on_event
    def handle(delivery):
        ran[delivery.id] += 1
        flood.confirm_soon(delivery)

    flood.join()
    wait_until(lambda: flood.count() == Counts(0, 0, 0), "all to be confirmed")
    assert ran == Counter(map(str, range(EVENTS)))
    assert seen


def test_who_leaves_amid_the_handlers_gives_both_halves_back(flood, redis_client, redis_url):
    ran = Counter()

    @flood.on_event
    def handle(delivery):
        ran[delivery.id] += 1
        flood.confirm_soon(delivery)
        if sum(ran.values()) == 100:
            wait_until(lambda: redis_client.zcard(LEASES) == IN_HALVES, "the other half to be claimed")
            flood.leave()

    flood.join()
    wait_until(lambda: sum(ran.values()) == 100, "the handler to leave")
    wait_until(flood.leave, "it to leave")
    assert sum(ran.values()) == 100
    assert flood.count() == Counts(EVENTS - 100, 0, 0)
    with DTimer(redis_url, max_events=IN_HALVES) as heir:
        heir.on_event(lambda delivery: ran.update([delivery.id]) or heir.confirm_soon(delivery))
        heir.join()
        wait_until(lambda: flood.count() == Counts(0, 0, 0), "the heir to confirm the others")
    assert ran == Counter(map(str, range(EVENTS)))


def test_what_waits_is_handed_over_while_redis_does_not_answer(flood, redis_client):
    ran = []
    flood.on_error(lambda exc: None)

    @flood.on_event
    def handle(delivery):
        if not ran:
            redis_client.client_pause(2000, all=True)
        ran.append(delivery.id)
        flood.confirm_soon(delivery)

    flood.join()
    wait_until(lambda: len(ran) >= IN_HALVES // 2, "the first half to be handed over")
    wait_until(lambda: flood.count() == Counts(0, 0, 0), "all to be confirmed", 20)
    assert sorted(ran, key=int) == list(map(str, range(EVENTS)))
