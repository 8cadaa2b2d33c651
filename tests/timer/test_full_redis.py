"""A Redis at its maxmemory refuses posts, and lets everything that makes it emptier happen."""

import pytest
from keyspace import contents
from rig.waiting import wait_until
from seeds import FUTURE_MS, PAST_MS, at, event, seed

from celery_dtimer.errors import PostManyError, TimerFullError
from celery_dtimer.timer.dtimer import DTimer, Post
from celery_dtimer.timer.events import Cancellation, State


@pytest.fixture
def server(start_redis):
    return start_redis(options={"maxmemory-policy": "noeviction"})


@pytest.fixture
def timer(server):
    with DTimer(server.url, confirm_timeout=60) as timer:
        yield timer


@pytest.fixture
def store(timer):
    return timer.store


@pytest.fixture
def redis_client(server):
    with server.client() as client:
        yield client


@pytest.fixture
def fill(redis_client):
    def fill():
        redis_client.config_set("maxmemory", 1)

    return fill


def test_a_post_is_refused_with_what_to_do_and_stores_nothing(timer, redis_client, fill):
    fill()
    with pytest.raises(TimerFullError, match="maxmemory") as caught:
        timer.post(b"p", 60, id="x")
    assert not isinstance(caught.value, MemoryError)
    with pytest.raises(PostManyError) as caught:
        timer.post_many([Post(b"p", 60, id="x")])
    assert caught.value.stored == caught.value.refused == caught.value.unknown == ()
    assert contents(redis_client) == {}


def test_what_is_due_is_claimed_and_confirmed(timer, store, claim, redis_client, fill):
    seed(store, event("x"), event("y"))
    fill()
    deliveries = claim()
    assert [timer.confirm(delivery) for delivery in deliveries] == [True, True]
    assert contents(redis_client) == {}


def test_a_lapsed_lease_is_claimed_again(timer, store, claim, redis_client, fill):
    seed(store, event("x"))
    claim(lease_ms=-1000)
    fill()
    (delivery,) = claim()
    assert delivery.redeliveries == 1
    assert timer.confirm(delivery)


def test_a_claim_that_finds_nothing_takes_the_promise(store, claim, redis_client, fill):
    seed(store, event("x", FUTURE_MS))
    fill()
    assert claim(listener="me") == []
    assert contents(redis_client)["promise"] == {"default": f"{FUTURE_MS} me"}
    assert claim(listener="me", room=0) == []
    assert contents(redis_client)["wake:default"] == ["1"]


def test_a_lease_is_renewed_released_and_parked(timer, store, claim, fill):
    seed(store, event("x"), event("y"))
    x, y = claim()
    fill()
    assert timer.renew(x)
    assert timer.release(x)
    assert timer.peek("x").state is State.PENDING
    assert store.ask(store.park("default", [y], "why")) == [1]


def test_events_are_cancelled_whatever_their_state(timer, store, claim, redis_client, fill):
    seed(store, event("parked"), event("back"))
    deliveries = {delivery.id: delivery for delivery in claim()}
    store.ask(store.park("default", [deliveries["parked"]], "why"))
    timer.release(deliveries["back"])
    seed(store, event("pending"))
    fill()
    for event_id in ("parked", "back", "pending"):
        assert timer.cancel(event_id) is Cancellation.CANCELLED
    assert contents(redis_client) == {}


def test_an_event_is_moved_and_replayed(timer, store, claim, fill):
    seed(store, event("x", FUTURE_MS), event("y", PAST_MS))
    store.ask(store.park("default", claim(), "why"))
    fill()
    assert timer.change_eta("x", at(FUTURE_MS - 1))
    assert timer.replay("y")


def test_a_listener_works_its_events_off(timer, redis_client, fill):
    errors = []
    timer.on_event(timer.confirm)
    timer.on_error(errors.append)
    timer.post_many([Post(b"p", i / 100) for i in range(100)])
    fill()
    timer.join()
    wait_until(lambda: redis_client.exists("{dt:0}:events") == 0, "all events")
    timer.leave()
    assert errors == []
    assert contents(redis_client) == {}
