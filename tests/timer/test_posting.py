"""What a post stores, what it does to a pending event of the same id, and how it wakes a listener."""

import uuid

import pytest
from rig.keyspace import contents, shown, snapshot
from rig.waiting import wait_until
from seeds import FUTURE_MS, PAST_MS, at, event, seed

from celery_dtimer import DTimer, Post
from celery_dtimer.errors import EventExistsError, InvalidEventError, PostManyError

DAY_MS = 86_400_000


def test_a_post_stores_a_record_an_instant_and_a_promise_and_wakes_one_listener(timer, redis_client):
    assert timer.post(b"\x00p", eta=at(FUTURE_MS), id="x", max_redeliveries=3) == "x"
    assert contents(redis_client) == {
        "events": {"x": [3, "default", b"\x00p"]},
        "due:default": {"x": FUTURE_MS},
        "promise": {"default": f"{FUTURE_MS} "},
        "wake:default": ["1"],
    }


def test_a_post_needs_no_join_and_opens_no_thread(timer, redis_client):
    timer.post("text", 60)
    assert redis_client.zcard("{dt:0}:due:default") == 1
    assert timer._listener is None


def test_an_event_without_an_id_gets_a_new_uuid(timer):
    first, second = timer.post(b"p", 60), timer.post(b"p", 60)
    assert uuid.UUID(first) != uuid.UUID(second)


def test_a_delay_counts_from_the_servers_clock_and_never_ends_early(timer, now_ms):
    before = now_ms()
    timer.post(b"p", 60, id="x")
    due_ms = timer.peek("x").due_at.timestamp() * 1000
    assert before + 60_000 <= due_ms <= now_ms() + 1 + 60_000


def test_the_delay_of_a_server_with_another_clock_is_the_servers(timer, monkeypatch, now_ms):
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    timer.post(b"p", 60, id="x")
    assert timer.peek("x").due_at.timestamp() * 1000 >= now_ms() + 59_000


def test_a_timers_first_queue_and_its_max_redeliveries_are_the_defaults_of_its_posts(redis_url, timer):
    with DTimer(redis_url, queues=("first", "second"), max_redeliveries=7) as other:
        other.post(b"p", 60, id="x")
        other.post(b"p", 60, id="y", queue="second", max_redeliveries=0)
    assert (timer.peek("x").queue, timer.peek("x").max_redeliveries) == ("first", 7)
    assert (timer.peek("y").queue, timer.peek("y").max_redeliveries) == ("second", 0)


def test_namespaces_do_not_see_each_other(redis_url, timer):
    with DTimer(redis_url, namespace="other") as other:
        other.post(b"other", 60, id="x")
        timer.post(b"ours", 60, id="x")
        assert timer.peek("x").payload == b"ours"
        assert other.cancel("x")
        assert timer.peek("x").payload == b"ours"


def test_a_post_that_is_due_later_than_the_promise_wakes_nobody(store, redis_client):
    seed(store, event("x", FUTURE_MS))
    redis_client.delete("{dt:0}:wake:default")
    seed(store, event("y", FUTURE_MS + 1), event("z", FUTURE_MS))
    assert contents(redis_client)["promise"] == {"default": f"{FUTURE_MS} "}
    assert not redis_client.exists("{dt:0}:wake:default")


def test_a_post_that_is_due_earlier_than_the_promise_takes_its_place_and_wakes_one_listener(store, redis_client):
    seed(store, event("x", FUTURE_MS), event("y", FUTURE_MS - 1), event("z", FUTURE_MS - 2))
    assert contents(redis_client)["promise"] == {"default": f"{FUTURE_MS - 2} "}
    assert contents(redis_client)["wake:default"] == ["1"]


# --- an event of the same id is pending


def test_by_default_a_second_post_of_a_pending_id_is_refused_and_changes_nothing(timer, redis_client):
    timer.post(b"first", eta=at(FUTURE_MS), id="x")
    before = snapshot(redis_client)
    with pytest.raises(EventExistsError, match="'x' is pending already, due at 2096-10-02") as caught:
        timer.post(b"second", eta=at(PAST_MS), id="x", queue="other")
    assert (caught.value.event_id, caught.value.due_ms) == ("x", FUTURE_MS)
    assert snapshot(redis_client) == before


@pytest.mark.parametrize("queue", ["default", "other"])
def test_keep_leaves_the_pending_event_as_it_is(timer, redis_client, queue):
    timer.post(b"first", eta=at(FUTURE_MS), id="x")
    before = snapshot(redis_client)
    assert timer.post(b"second", eta=at(PAST_MS), id="x", queue=queue, on_conflict="keep") == "x"
    assert snapshot(redis_client) == before


def test_replace_takes_payload_time_and_redeliveries_of_the_second_post(timer, redis_client):
    timer.post(b"first", eta=at(FUTURE_MS), id="x")
    timer.post(b"second", eta=at(PAST_MS), id="x", max_redeliveries=1, on_conflict="replace")
    assert contents(redis_client) == {
        "events": {"x": [1, "default", b"second"]},
        "due:default": {"x": PAST_MS},
        "promise": {"default": f"{PAST_MS} "},
        "wake:default": ["1"],
    }


def test_a_replacement_in_another_queue_moves_the_event_and_leaves_nothing_behind(timer, redis_client):
    timer.post(b"p", eta=at(FUTURE_MS), id="x", queue="one")
    timer.post(b"p", eta=at(FUTURE_MS), id="x", queue="two", on_conflict="replace")
    assert contents(redis_client) == {
        "events": {"x": [20, "two", b"p"]},
        "due:two": {"x": FUTURE_MS},
        "promise": {"two": f"{FUTURE_MS} "},
        "wake:two": ["1"],
    }


def test_a_postponement_by_a_post_to_another_queue_leaves_the_event_in_its_own(timer, redis_client):
    timer.post(b"p", eta=at(FUTURE_MS), id="x", queue="one")
    timer.post(b"p", eta=at(FUTURE_MS - 5), id="x", queue="two", on_conflict="postpone")
    assert contents(redis_client) == {
        "events": {"x": [20, "one", b"p"]},
        "due:one": {"x": FUTURE_MS - 5},
        "promise": {"one": f"{FUTURE_MS - 5} "},
        "wake:one": ["1"],
    }


def test_a_post_that_moves_one_event_leaves_the_others_of_its_queue_promised(timer, redis_client):
    for event_id in "xy":
        timer.post(b"p", eta=at(FUTURE_MS), id=event_id, queue="one")
    timer.post(b"p", eta=at(FUTURE_MS), id="x", queue="two", on_conflict="replace")
    found = contents(redis_client)
    assert found["due:one"] == {"y": FUTURE_MS}
    assert found["promise"] == {"one": f"{FUTURE_MS} ", "two": f"{FUTURE_MS} "}


def test_postpone_moves_the_time_and_keeps_the_rest(timer, redis_client):
    timer.post(b"first", eta=at(FUTURE_MS), id="x", max_redeliveries=2)
    timer.post(b"second", eta=at(FUTURE_MS + 5), id="x", max_redeliveries=9, on_conflict="postpone")
    found = contents(redis_client)
    assert found["events"] == {"x": [2, "default", b"first"]}
    assert found["due:default"] == {"x": FUTURE_MS + 5}


def test_postpone_stores_what_is_not_pending_yet(timer, redis_client):
    timer.post(b"p", eta=at(FUTURE_MS), id="x", on_conflict="postpone")
    assert contents(redis_client)["events"] == {"x": [20, "default", b"p"]}


def test_a_debounce_ends_max_wait_after_the_first_post_however_often_it_is_postponed(timer, now_ms):
    before = now_ms()
    timer.post(b"p", 10, id="x", on_conflict="postpone", max_wait=60)
    after = now_ms()
    for delay in (30, 59, 100, 1000):
        timer.post(b"q", delay, id="x", on_conflict="postpone", max_wait=60)
    due_ms = timer.peek("x").due_at.timestamp() * 1000
    assert before + 60_000 <= due_ms <= after + 60_001
    assert timer.peek("x").payload == b"p"


def test_a_debounce_is_bounded_from_its_first_post_on(timer, now_ms):
    timer.post(b"p", 1000, id="x", on_conflict="postpone", max_wait=60)
    assert timer.peek("x").due_at.timestamp() * 1000 <= now_ms() + 60_001


def test_a_debounce_begins_anew_once_it_was_delivered(timer, claim, now_ms):
    timer.post(b"p", 0, id="x", on_conflict="postpone", max_wait=60)
    (delivery,) = wait_until(claim, "the debounce to end")
    timer.post(b"p", 1000, id="x", on_conflict="postpone", max_wait=2000)
    assert timer.confirm(delivery)
    assert timer.peek("x").due_at.timestamp() * 1000 >= now_ms() + 999_000


# --- an event of the same id is being delivered, or parked


def test_an_event_that_is_being_delivered_is_no_conflict_and_the_new_one_stands_beside_it(timer, claim, redis_client):
    timer.post(b"old", eta=at(PAST_MS), id="x")
    (delivery,) = claim()
    timer.post(b"new", eta=at(FUTURE_MS), id="x")
    found = contents(redis_client)
    assert found["events"] == {"x": [20, "default", b"new"]}
    assert found["taken"] == {shown(delivery.key): [20, "default", b"old"]}
    assert timer.peek("x").payload == b"new"


def test_an_event_that_was_given_back_waits_and_so_is_a_conflict(timer, claim, redis_client):
    timer.post(b"old", eta=at(PAST_MS), id="x")
    (delivery,) = claim()
    timer.release(delivery, 60)
    before = snapshot(redis_client)
    with pytest.raises(EventExistsError):
        timer.post(b"new", eta=at(FUTURE_MS), id="x")
    timer.post(b"new", eta=at(FUTURE_MS), id="x", on_conflict="keep")
    assert snapshot(redis_client) == before


def test_replace_ends_an_event_that_was_given_back(timer, claim, redis_client):
    timer.post(b"old", eta=at(PAST_MS), id="x", queue="one")
    (delivery,) = claim("one")
    timer.release(delivery, 60)
    timer.post(b"new", eta=at(FUTURE_MS), id="x", queue="two", on_conflict="replace")
    found = contents(redis_client)
    assert found["events"] == {"x": [20, "two", b"new"]}
    assert found["due:two"] == {"x": FUTURE_MS}
    assert found["promise"] == {"two": f"{FUTURE_MS} "}
    assert "leased" not in found
    assert "lease:one" not in found


def test_postpone_moves_an_event_that_was_given_back_and_keeps_its_redeliveries(timer, claim):
    timer.post(b"old", eta=at(PAST_MS), id="x")
    (delivery,) = claim()
    timer.release(delivery, 60)
    timer.post(b"new", eta=at(FUTURE_MS), id="x", on_conflict="postpone")
    info = timer.peek("x")
    assert (info.payload, info.redeliveries, info.due_at) == (b"old", 1, at(FUTURE_MS))


def test_an_id_that_is_parked_can_be_posted_again_and_stays_parked_too(timer, claim, store):
    timer.post(b"old", eta=at(PAST_MS), id="x")
    (delivery,) = claim()
    store.ask(store.park("default", [delivery], "why"))
    timer.post(b"new", eta=at(PAST_MS), id="x")
    assert timer.peek("x").payload == b"new"
    (new,) = claim()
    assert timer.confirm(new)
    assert timer.peek("x").payload == b"old"
    assert timer.peek("x").state == "parked"


# --- many


def test_many_posts_of_several_queues_are_stored_in_batches_and_answered_in_order(timer, redis_client):
    posts = [Post(b"%d" % i, 60 + i, id=f"id{i}", queue="one" if i % 3 else "two") for i in range(1201)]
    assert timer.post_many(iter(posts)) == [post.id for post in posts]
    assert redis_client.hlen("{dt:0}:events") == 1201
    assert redis_client.zcard("{dt:0}:due:one") == 800
    assert redis_client.zcard("{dt:0}:due:two") == 401


def test_many_posts_cost_one_call_for_five_hundred_of_a_queue(timer, redis_client):
    timer.post_many([Post(b"", 60)])  # the server knows the script from here on
    before = redis_client.info("commandstats")["cmdstat_evalsha"]["calls"]
    timer.post_many([Post(b"", 60)] * 1000)
    assert redis_client.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 2


def test_no_posts_are_stored_as_none(timer, redis_client):
    assert timer.post_many([]) == []
    assert snapshot(redis_client) == {}


def test_a_refused_event_among_many_is_named_and_the_others_are_stored(timer):
    timer.post(b"first", 60, id="b")
    with pytest.raises(PostManyError, match="1 of 3 events were refused") as caught:
        timer.post_many([Post(b"p", 60, id=event_id) for event_id in "abc"])
    assert caught.value.stored == ("a", "c")
    assert caught.value.refused == ("b",)
    assert caught.value.unknown == ()
    assert timer.peek("b").payload == b"first"


def test_one_id_twice_among_many_is_one_event(timer):
    with pytest.raises(PostManyError) as caught:
        timer.post_many([Post(b"1", 60, id="x"), Post(b"2", 60, id="x")])
    assert (caught.value.stored, caught.value.refused) == (("x",), ("x",))
    assert timer.post_many([Post(b"3", 60, id="x"), Post(b"4", 60, id="x")], on_conflict="replace") == ["x"] * 2
    assert timer.peek("x").payload == b"4"


def test_one_bad_event_among_many_stores_none(timer, redis_client):
    with pytest.raises(InvalidEventError):
        timer.post_many([Post(b"p", 60, id="a"), Post(b"p", "soon", id="b")])
    assert snapshot(redis_client) == {}


def test_a_batch_announces_its_earliest_event(timer, redis_client):
    timer.post_many([Post(b"p", eta=at(FUTURE_MS + i), id=str(i)) for i in (3, 1, 2)])
    assert contents(redis_client)["promise"] == {"default": f"{FUTURE_MS + 1} "}
    assert contents(redis_client)["wake:default"] == ["1"]
