"""A cancel ends what waits, and says what was so."""

import pytest
from rig.keyspace import contents, snapshot
from seeds import FUTURE_MS, PAST_MS, event, seed

from celery_dtimer.timer.events import Answer, State


def test_cancel_of_a_pending_event_leaves_nothing(timer, store, redis_client):
    seed(store, event("x", FUTURE_MS))
    answer = timer.cancel("x")
    assert answer
    assert snapshot(redis_client) == {}


def test_cancel_of_one_event_changes_only_that(timer, store, redis_client):
    seed(store, event("y", FUTURE_MS))
    before = snapshot(redis_client)
    seed(store, event("x", FUTURE_MS))
    assert timer.cancel("x")
    assert snapshot(redis_client) == before


def test_cancel_of_an_unknown_event_changes_nothing(timer, store, redis_client):
    seed(store, event("x"), event("y", queue="other"))
    before = snapshot(redis_client)
    answer = timer.cancel("z")
    assert answer == Answer()
    assert not answer
    assert snapshot(redis_client) == before


def test_a_second_cancel_finds_nothing(timer, store):
    seed(store, event("x"))
    assert timer.cancel("x")
    assert timer.cancel("x") == Answer()


def test_cancel_of_a_due_event_keeps_it_from_being_claimed(timer, store, claim):
    seed(store, event("x"), event("y"))
    assert timer.cancel("x")
    assert [delivery.id for delivery in claim()] == ["y"]


def test_cancel_of_a_leased_event_says_so_and_changes_nothing(timer, store, claim, redis_client):
    seed(store, event("x"))
    (delivery,) = claim()
    before = snapshot(redis_client)
    answer = timer.cancel("x")
    assert answer.state is State.LEASED
    assert not answer
    assert snapshot(redis_client) == before
    assert timer.confirm(delivery)


def test_cancel_of_a_confirmed_event_finds_nothing(timer, store, claim):
    seed(store, event("x"))
    (delivery,) = claim()
    assert timer.confirm(delivery)
    assert timer.cancel("x") == Answer()


def test_cancel_of_an_event_that_was_given_back_leaves_nothing(timer, store, claim, redis_client):
    seed(store, event("x"))
    (delivery,) = claim()
    assert timer.release(delivery)
    assert timer.cancel("x")
    assert snapshot(redis_client) == {}
    assert claim() == []


def test_cancel_of_a_parked_event_leaves_nothing(timer, store, claim, redis_client):
    seed(store, event("x"))
    store.ask(store.park("default", claim(), "why"))
    assert timer.cancel("x")
    assert snapshot(redis_client) == {}


def test_cancel_of_an_event_in_another_queue_tidies_that_queue(timer, store, redis_client):
    seed(store, event("x", queue="other"), event("y", FUTURE_MS))
    redis_client.delete("{dt:0}:wake:default")
    assert timer.cancel("x")
    assert contents(redis_client) == {
        "events": {"y": [20, "default", b"payload"]},
        "due:default": {"y": FUTURE_MS},
        "promise": {"default": f"{FUTURE_MS} "},
    }


def test_cancel_after_a_post_beside_a_delivery_ends_both(timer, store, claim, redis_client):
    seed(store, event("x"))
    (old,) = claim()
    seed(store, event("x"))
    assert timer.cancel("x")
    assert snapshot(redis_client) == {}
    assert not timer.confirm(old)
    assert not timer.renew(old)
    assert not timer.release(old)
    assert claim() == []


def test_cancel_after_a_post_to_another_queue_tidies_both(timer, store, claim, redis_client):
    seed(store, event("x", queue="one"))
    claim("one")
    seed(store, event("x", FUTURE_MS, queue="two"))
    assert timer.cancel("x")
    assert snapshot(redis_client) == {}


def test_cancel_after_several_posts_beside_deliveries_ends_all(timer, store, claim, redis_client):
    for _ in range(5):
        seed(store, event("x"))
        assert len(claim()) == 1
    assert timer.cancel("x").state is State.LEASED
    seed(store, event("x"))
    assert timer.cancel("x")
    assert snapshot(redis_client) == {}


def test_after_a_cancel_no_older_delivery_comes_back_though_a_newer_one_was_confirmed(
    timer, store, claim, redis_client
):
    seed(store, event("x"))
    claim()
    seed(store, event("x"))
    (newer,) = claim()
    assert timer.confirm(newer)
    seed(store, event("x", FUTURE_MS))
    assert timer.cancel("x")
    assert snapshot(redis_client) == {}
    assert claim() == []


@pytest.mark.parametrize("newest", ["pending", "leased"])
@pytest.mark.parametrize("ended", [0, 1, 2])
def test_a_cancel_reaches_all_older_deliveries_though_one_amid_them_ended(
    timer, store, claim, redis_client, newest, ended
):
    deliveries = []
    for _ in range(3):
        seed(store, event("x"))
        deliveries += claim()
    seed(store, event("x"))
    if newest == "leased":
        deliveries += claim()
    assert timer.confirm(deliveries[ended])
    if newest == "leased":
        assert timer.cancel("x").state is State.LEASED
        assert timer.release(deliveries[3])
    assert timer.cancel("x")
    assert snapshot(redis_client) == {}


def test_an_older_delivery_is_seen_again_once_the_newer_one_is_confirmed(timer, store, claim):
    seed(store, event("x", payload=b"old"))
    (old,) = claim()
    seed(store, event("x", payload=b"new"))
    (new,) = claim()
    assert timer.peek("x").payload == b"new"
    assert timer.confirm(new)
    assert timer.peek("x").payload == b"old"
    assert timer.cancel("x").state is State.LEASED
    assert timer.release(old)
    assert timer.cancel("x")


def test_an_older_delivery_is_seen_again_once_the_newer_one_is_delivered_without_a_confirm(timer, store, claim):
    seed(store, event("x", payload=b"old"))
    (old,) = claim()
    seed(store, event("x", PAST_MS, payload=b"new", max_redeliveries=0))
    assert [delivery.payload for delivery in claim()] == [b"new"]
    assert timer.cancel("x").state is State.LEASED
    assert timer.confirm(old)


def test_an_event_can_be_posted_again_after_its_cancel(timer, store, claim):
    seed(store, event("x", payload=b"old"))
    assert timer.cancel("x")
    seed(store, event("x", payload=b"new"))
    assert [delivery.payload for delivery in claim()] == [b"new"]
