"""A Redis at its maxmemory refuses posts, and lets everything that makes it emptier happen."""

import pytest
from rig.keyspace import contents
from rig.waiting import wait_until
from seeds import FUTURE_MS, PAST_MS, at, event, seed

from celery_dtimer import DTimer, Post
from celery_dtimer.errors import PostManyError, TimerFullError
from celery_dtimer.timer.events import Counts, State


@pytest.fixture
def server(start_redis):
    return start_redis(options={"maxmemory-policy": "noeviction"})


@pytest.fixture
def timer(server):
    with DTimer(server.url, confirm_timeout=60) as timer:
        yield timer


@pytest.fixture
def store(timer):
    return timer.shards[0]


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


@pytest.mark.parametrize("on_conflict", ["replace", "postpone"])
def test_a_post_of_a_pending_id_is_refused_and_changes_nothing(timer, redis_client, fill, on_conflict):
    timer.post(b"p", 60, id="x")
    before = contents(redis_client)
    fill()
    with pytest.raises(TimerFullError, match="maxmemory"):
        timer.post(b"q", 90, id="x", on_conflict=on_conflict)
    assert contents(redis_client) == before
    assert timer.cancel("x")


def test_a_post_that_keeps_what_is_pending_needs_no_memory(timer, redis_client, fill):
    timer.post(b"p", 60, id="x")
    before = contents(redis_client)
    fill()
    assert timer.post(b"q", 90, id="x", on_conflict="keep") == "x"
    assert contents(redis_client) == before
    assert timer.cancel("x")


def test_what_follows_a_delivery_under_its_id_is_stored_before_its_end_and_after_it(timer, store, claim, fill):
    seed(store, event("x"), event("y"))
    deliveries = {delivery.id: delivery for delivery in claim()}
    assert timer.confirm(deliveries["y"])
    fill()
    for event_id in ("x", "y"):
        assert store.post([event(event_id, FUTURE_MS)], conflict="follow") == [FUTURE_MS]
    assert timer.confirm(deliveries["x"])
    for event_id in ("x", "y"):
        assert timer.peek(event_id).state is State.PENDING
        assert timer.cancel(event_id)


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


def test_an_event_without_a_confirm_is_claimed(store, claim, redis_client, fill):
    seed(store, event("x", max_redeliveries=0))
    fill()
    assert [delivery.id for delivery in claim()] == ["x"]
    assert contents(redis_client) == {}


def test_what_was_redelivered_too_often_is_parked_by_a_claim_and_by_a_release(timer, store, claim, fill):
    seed(store, event("lapsed", max_redeliveries=1), event("released", max_redeliveries=1))
    claim(lease_ms=-1000)
    deliveries = {delivery.id: delivery for delivery in claim(lease_ms=-1000)}
    fill()
    assert timer.release(deliveries["released"])
    parked = []
    assert claim(parked=parked) == []
    assert parked == ["lapsed"]
    for event_id in ("lapsed", "released"):
        info = timer.peek(event_id)
        assert (info.state, info.redeliveries) == (State.PARKED, 2)
        assert timer.cancel(event_id)


def test_what_there_is_is_counted_and_listed(timer, store, claim, fill):
    seed(store, event("leased"))
    (delivery,) = claim()
    seed(store, event("pending", FUTURE_MS))
    fill()
    assert timer.count() == Counts(pending=1, leased=1, parked=0)
    assert [row.id for row in timer.upcoming(payloads=True)] == ["pending"]
    assert timer.confirm(delivery)
    assert timer.cancel("pending")


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
    assert list(store.ask(store.park("default", [y], "why"))) == [1]


def test_events_are_cancelled_whatever_their_state(timer, store, claim, redis_client, fill):
    seed(store, event("parked"), event("back"))
    deliveries = {delivery.id: delivery for delivery in claim()}
    store.ask(store.park("default", [deliveries["parked"]], "why"))
    timer.release(deliveries["back"])
    seed(store, event("pending"))
    fill()
    for event_id in ("parked", "back", "pending"):
        assert timer.cancel(event_id)
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
    wait_until(lambda: redis_client.exists("{dt:0}:events", "{dt:0}:taken") == 0, "all events")
    timer.leave()
    assert errors == []
    assert contents(redis_client) == {}
