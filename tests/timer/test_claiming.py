"""Claims, leases and what ends them: confirm, release, lapse, parking, replay."""

import pickle
from copy import copy
from dataclasses import FrozenInstanceError, fields, replace

import pytest
from rig.keyspace import contents, shown, snapshot
from rig.waiting import wait_until
from seeds import FUTURE_MS, PAST_MS, at, event, seed

from celery_dtimer.timer.events import Delivery, State

LAPSED_MS = -60_000  # the lease of a claim that is over when it is made


def test_a_claim_takes_what_is_due_soonest_first_and_nothing_else(store, claim):
    seed(store, event("c", PAST_MS + 2), event("a", PAST_MS), event("b", PAST_MS + 1), event("d", FUTURE_MS))
    assert [delivery.id for delivery in claim()] == ["a", "b", "c"]
    assert claim() == []


def test_a_claim_tells_what_was_posted(store, claim):
    seed(store, event("x", payload=b"\x00\xff", queue="other"))
    (delivery,) = claim("default", "other")
    assert isinstance(delivery, Delivery)
    assert (delivery.id, delivery.payload, delivery.queue) == ("x", b"\x00\xff", "other")
    assert (delivery.due_ms, delivery.due_at, delivery.redeliveries) == (PAST_MS, at(PAST_MS), 0)
    assert delivery.token


@pytest.mark.parametrize("holder", ["", "me", "x" * 31, "x" * 32, "x" * 300])
@pytest.mark.parametrize("most", [1, 127, 128, 70_000, 2**40])
def test_a_first_lease_is_recorded_byte_for_byte_as_all_others_are(store, claim, redis_client, holder, most):
    instants = (-62_135_596_800_000, -1, 0, 1, 127, 65_536, 2**33, PAST_MS)
    for number, due_ms in enumerate(instants):
        tags = ("tag",) if number % 2 else ()
        seed(store, event(f"{number}", due_ms, max_redeliveries=most, queue="q" * (number * 10 + 1), tags=tags))
    deliveries = claim(*("q" * (number * 10 + 1) for number in range(len(instants))), holder=holder)
    assert sorted(delivery.due_ms for delivery in deliveries) == list(instants)
    packed = "return ARGV[1] .. '\\n' .. cmsgpack.pack({ ARGV[2], 0, tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])"
    for found in deliveries:
        rest = ", '', 1 })" if found.tags else " })"
        record = redis_client.eval(
            packed + rest, 0, found.token, holder, found.due_ms, found.queue, found.max_redeliveries
        )
        assert redis_client.hget(store.keys.prefix + "leased", found.key) == record


def test_a_delivery_is_as_one_that_was_built_field_by_field(store, claim):
    seed(store, event("ünd", tags=("a", "b")))
    (found,) = claim()
    built = Delivery(**{field.name: getattr(found, field.name) for field in fields(Delivery)})
    assert type(found) is Delivery
    assert repr(found) == repr(built)
    assert found != built
    assert found.due_at == at(PAST_MS)
    assert replace(found, token="t").id == "ünd"
    assert copy(found).key == pickle.loads(pickle.dumps(found)).key == found.key
    with pytest.raises(FrozenInstanceError):
        found.id = "other"


@pytest.mark.parametrize("size", [2, 200, 255, 256, 70_000])
def test_a_delivery_of_a_longer_id_than_ours_is_decided_too(store, claim, redis_client, size):
    seed(store, event("x" * size, payload=b""), event("ü" * (size // 2), payload=b"p" * size))
    first, second = claim()
    assert {first.payload, second.payload} == {b"", b"p" * size}
    assert list(store.ask(store.release("default", [second], counted=True))) == [1]
    assert list(store.ask(store.confirm("default", [first, second]))) == [1, 0]
    (again,) = wait_until(claim, "what was given back to be claimable")
    assert list(store.ask(store.confirm("default", [again, again]))) == [1, 0]
    assert contents(redis_client) == {}


def test_a_claim_moves_the_event_under_a_lease_and_takes_the_promise(store, claim, redis_client, now_ms):
    seed(store, event("x"))
    before = now_ms()
    (delivery,) = claim(lease_ms=5000, listener="me", holder="my name")
    after = now_ms()
    found = contents(redis_client)
    key = shown(delivery.key)
    lapse_ms = found["lease:default"][key]
    assert before + 5000 <= lapse_ms <= after + 5001
    assert found == {
        "leased": {key: [delivery.token, "my name", 0, PAST_MS, "default", 20]},
        "taken": {key: [20, "default", b"payload"]},
        "deliveries": {key: 0},
        "lease:default": {key: lapse_ms},
        "promise": {"default": f"{lapse_ms} me"},
    }


def test_a_claim_takes_no_more_than_its_room_and_asks_another_listener_for_the_rest(store, claim, redis_client):
    seed(store, *(event(str(i), PAST_MS + i) for i in range(5)))
    assert [delivery.id for delivery in claim(room=3)] == ["0", "1", "2"]
    found = contents(redis_client)
    assert found["promise"] == {"default": f"{PAST_MS + 3} "}
    assert found["wake:default"] == ["1"]


def test_a_claim_without_room_takes_nothing_and_passes_its_promise_on(store, claim, redis_client):
    seed(store, event("x", FUTURE_MS))
    assert claim(listener="me") == []
    assert contents(redis_client)["promise"] == {"default": f"{FUTURE_MS} me"}
    assert "wake:default" not in contents(redis_client)
    assert claim(listener="me", room=0) == []
    assert contents(redis_client)["promise"] == {"default": f"{FUTURE_MS} "}
    assert contents(redis_client)["wake:default"] == ["1"]


def test_a_claim_without_room_leaves_the_promise_of_another_alone(store, claim, redis_client):
    seed(store, event("x", FUTURE_MS))
    claim(listener="me")
    before = snapshot(redis_client)
    claim(listener="another", room=0)
    claim(listener="another", room=5)
    assert snapshot(redis_client) == before


def test_a_claim_takes_only_from_the_queues_it_names(store, claim):
    seed(store, event("x", queue="one"), event("y", queue="two"), event("z", queue="three"))
    assert {delivery.id for delivery in claim("three", "one")} == {"x", "z"}
    assert {delivery.id for delivery in claim("two")} == {"y"}


def test_a_claim_of_nothing_leaves_nothing(claim, redis_client):
    assert claim("one", "two") == []
    assert snapshot(redis_client) == {}


def test_a_claim_takes_no_more_than_its_bound_and_leaves_all_of_that_leased(store, claim, redis_client):
    store.post([event(str(i)) for i in range(400)])
    assert len(claim(room=5000)) == 256
    assert len(claim(room=5000)) == 144
    assert redis_client.hlen("{dt:0}:leased") == redis_client.zcard("{dt:0}:lease:default") == 400


def test_the_same_claim_sent_twice_loses_no_event(store, redis_client):
    """redis-py's default client sends a command again when the connection broke before the answer came."""
    seed(store, event("x", payload=b"1"), event("y", PAST_MS + 1, payload=b"2"))
    call = store.claim(["default"], listener="l", holder="h", nonce="twice", room=1, lease_ms=60_000)
    for _ in range(2):
        store.ask(call)
    assert len(contents(redis_client)["leased"]) == 2
    assert [store.peek(event_id).payload for event_id in "xy"] == [b"1", b"2"]


def test_an_event_whose_record_was_deleted_from_outside_is_passed_over(store, claim, redis_client):
    seed(store, event("x"), event("y"))
    redis_client.hdel("{dt:0}:events", "x")
    (delivery,) = claim(lease_ms=LAPSED_MS)
    assert delivery.id == "y"
    redis_client.delete("{dt:0}:leased")
    assert claim() == []
    assert "lease:default" not in contents(redis_client)


#: The keys that there are while something is parked.
PARKED = {"parked", "parked_at", "parked_ids", "taken"}


# --- confirm


def test_confirm_ends_lease_and_event_and_leaves_nothing(timer, store, claim, redis_client):
    seed(store, event("x"))
    (delivery,) = claim()
    assert timer.confirm(delivery) is True
    assert snapshot(redis_client) == {}


def test_a_second_confirm_changes_nothing_and_says_so(timer, store, claim, redis_client):
    seed(store, event("x"), event("y"))
    first, _ = claim()
    assert timer.confirm(first)
    before = snapshot(redis_client)
    assert timer.confirm(first) is False
    assert snapshot(redis_client) == before


def test_confirm_leaves_the_other_events_of_the_queue_and_its_promise(timer, store, claim, redis_client):
    seed(store, event("y", FUTURE_MS))
    claim(listener="me")
    before = snapshot(redis_client)
    seed(store, event("x"))
    (delivery,) = claim(listener="me")
    assert timer.confirm(delivery)
    after = snapshot(redis_client)
    promise = after.pop("{dt:0}:promise")
    assert before.pop("{dt:0}:promise").keys() == promise.keys()
    assert after == before


# --- a lease that lapses


def test_a_lapsed_lease_is_claimed_again_with_a_new_token_and_counted(timer, store, claim, redis_client):
    seed(store, event("x"))
    (first,) = claim(lease_ms=LAPSED_MS, holder="one")
    (second,) = claim(holder="two")
    assert (second.id, second.payload, second.due_ms) == (first.id, first.payload, first.due_ms)
    assert second.token != first.token
    assert second.redeliveries == 1
    assert timer.peek("x").holder == "two"
    before = snapshot(redis_client)
    for refused in (timer.confirm(first), timer.renew(first), timer.release(first)):
        assert refused is False
    assert list(store.ask(store.park("default", [first], "why"))) == [0]
    assert snapshot(redis_client) == before
    assert timer.confirm(second)
    assert snapshot(redis_client) == {}


def test_a_lease_that_lapsed_and_was_not_claimed_again_can_still_be_confirmed(timer, store, claim):
    seed(store, event("x"))
    (delivery,) = claim(lease_ms=LAPSED_MS)
    assert timer.confirm(delivery)
    assert claim() == []


def test_a_lease_is_not_claimed_again_before_it_lapses(store, claim, redis_client, now_ms):
    seed(store, event("x"))
    (first,) = claim(lease_ms=100)
    lapse_ms = redis_client.zscore("{dt:0}:lease:default", first.key)
    (second,) = wait_until(claim, "the lease to lapse")
    assert now_ms() >= lapse_ms
    assert second.redeliveries == 1


def test_a_renewed_lease_lapses_later(timer, store, claim, redis_client, now_ms):
    seed(store, event("x"))
    (delivery,) = claim(lease_ms=LAPSED_MS)
    assert timer.renew(delivery) is True
    assert redis_client.zscore("{dt:0}:lease:default", delivery.key) >= now_ms() + 9_000
    assert claim() == []
    assert timer.peek("x").redeliveries == 0


def test_tokens_are_new_at_every_claim(timer, store, claim):
    seed(store, event("x"), event("y"))
    tokens = [delivery.token for _ in range(10) for delivery in claim(lease_ms=LAPSED_MS)]
    assert len(tokens) == len(set(tokens)) == 20


def test_an_event_that_lapsed_too_often_is_parked_with_the_reason(timer, store, claim, redis_client, now_ms):
    seed(store, event("x", max_redeliveries=2))
    parked = []
    counts = [delivery.redeliveries for _ in range(3) for delivery in claim(lease_ms=LAPSED_MS)]
    assert counts == [0, 1, 2]
    before = now_ms()
    assert claim(parked=parked) == []
    assert parked == ["x"]
    info = timer.peek("x")
    assert (info.state, info.redeliveries, info.max_redeliveries) == (State.PARKED, 3, 2)
    assert info.reason == "redelivered too often: the lease lapsed"
    assert (info.payload, info.due_at, info.holder) == (b"payload", at(PAST_MS), None)
    assert before <= info.until.timestamp() * 1000 <= now_ms()
    assert set(contents(redis_client)) == PARKED


def test_parking_takes_no_room_from_what_can_be_delivered(store, claim):
    seed(store, event("x", max_redeliveries=1))
    for _ in range(2):
        claim(lease_ms=LAPSED_MS)
    seed(store, event("y"))
    assert [delivery.id for delivery in claim(room=1)] == ["y"]


# --- release


def test_a_release_gives_the_event_back_and_counts(timer, store, claim, redis_client):
    seed(store, event("x"))
    (first,) = claim()
    assert timer.release(first) is True
    assert timer.peek("x").state is State.PENDING
    assert contents(redis_client)["wake:default"] == ["1"]
    assert timer.confirm(first) is False
    (second,) = wait_until(claim, "what was given back to be claimable")
    assert (second.redeliveries, second.payload, second.due_ms) == (1, b"payload", PAST_MS)


def test_a_release_with_a_backoff_is_not_claimed_before_it_is_over(timer, store, claim, now_ms):
    seed(store, event("x"))
    before = now_ms()
    assert timer.release(claim()[0], 60)
    assert claim() == []
    assert before + 60_000 <= timer.peek("x").due_at.timestamp() * 1000 <= now_ms() + 60_001


def test_a_release_that_does_not_count_never_parks(store, claim):
    seed(store, event("x", max_redeliveries=1))
    for _ in range(5):
        (delivery,) = wait_until(claim, "what was given back to be claimable")
        assert delivery.redeliveries == 0
        call = store.release("default", [delivery], counted=False)
        assert list(store.ask(call)) == [1]


def test_a_lapse_after_a_release_counts_once(store, claim):
    seed(store, event("x"))
    store.ask(store.release("default", claim(), counted=True, reason="first"))
    (delivery,) = wait_until(lambda: claim(lease_ms=LAPSED_MS), "what was given back to be claimable")
    assert delivery.redeliveries == 1
    assert [delivery.redeliveries for delivery in claim()] == [2]


def test_a_release_too_many_parks_with_the_reason(timer, store, claim, redis_client):
    seed(store, event("x", max_redeliveries=1))
    assert list(store.ask(store.release("default", claim(), counted=True, reason="first"))) == [1]
    again = wait_until(claim, "what was given back to be claimable")
    assert list(store.ask(store.release("default", again, counted=True, reason="again"))) == [2]
    info = timer.peek("x")
    assert (info.state, info.reason) == (State.PARKED, "redelivered too often: again")
    assert set(contents(redis_client)) == PARKED


def test_several_releases_in_one_call_are_answered_one_by_one(store, claim):
    seed(store, event("x"), event("y", max_redeliveries=1), event("z"))
    x, y, z = claim()
    store.ask(store.release("default", [y], counted=True))
    (y,) = wait_until(claim, "what was given back to be claimable")
    store.ask(store.confirm("default", [z]))
    assert list(store.ask(store.release("default", [x, y, z], counted=True))) == [1, 2, 0]


# --- park and replay


def test_a_parked_event_is_kept_with_the_reason_and_not_delivered(timer, store, claim, redis_client):
    seed(store, event("x"))
    assert list(store.ask(store.park("default", claim(), "no such task"))) == [1]
    info = timer.peek("x")
    assert (info.state, info.reason, info.redeliveries) == (State.PARKED, "no such task", 0)
    assert set(contents(redis_client)) == PARKED
    assert claim() == []


def test_a_replay_makes_a_parked_event_pending_with_its_redeliveries_at_zero(timer, store, claim, now_ms):
    seed(store, event("x", max_redeliveries=1))
    for _ in range(3):
        claim(lease_ms=LAPSED_MS)
    before = now_ms()
    assert timer.replay("x") is True
    info = timer.peek("x")
    assert (info.state, info.redeliveries, info.max_redeliveries) == (State.PENDING, 0, 1)
    assert before <= info.due_at.timestamp() * 1000 <= now_ms() + 1
    (delivery,) = wait_until(claim, "the replayed event to be due")
    assert (delivery.payload, delivery.redeliveries) == (b"payload", 0)


def test_a_replay_takes_the_promise_over_and_wakes_one_listener(timer, store, claim, redis_client):
    seed(store, event("x"), event("y", FUTURE_MS))
    store.ask(store.park("default", claim(), "why"))
    assert contents(redis_client)["promise"]["default"].endswith(" listener")
    assert timer.replay("x")
    found = contents(redis_client)
    assert found["promise"] == {"default": f"{found['due:default']['x']} "}
    assert found["wake:default"] == ["1"]


def test_a_replay_may_be_delayed(timer, store, claim, now_ms):
    seed(store, event("x"))
    store.ask(store.park("default", claim(), "why"))
    assert timer.replay("x", 60)
    assert timer.peek("x").due_at.timestamp() * 1000 >= now_ms() + 59_000


@pytest.mark.parametrize("state", ["unknown", "pending", "leased"])
def test_a_replay_of_what_is_not_parked_changes_nothing(timer, store, claim, redis_client, state):
    if state != "unknown":
        seed(store, event("x"))
    if state == "leased":
        claim()
    before = snapshot(redis_client)
    assert timer.replay("x") is False
    assert snapshot(redis_client) == before


@pytest.mark.parametrize("state", ["pending", "leased"])
def test_a_replay_beside_an_event_of_the_same_id_changes_nothing(timer, store, claim, redis_client, state):
    seed(store, event("x"))
    store.ask(store.park("default", claim(), "why"))
    seed(store, event("x", payload=b"new"))
    if state == "leased":
        claim()
    before = snapshot(redis_client)
    assert timer.replay("x") is False
    assert snapshot(redis_client) == before


# --- max_redeliveries=0


def test_without_redeliveries_an_event_is_delivered_once_and_nothing_is_kept(timer, store, claim, redis_client):
    seed(store, event("x", max_redeliveries=0))
    (delivery,) = claim()
    assert (delivery.id, delivery.payload, delivery.redeliveries) == ("x", b"payload", 0)
    assert snapshot(redis_client) == {}
    assert timer.confirm(delivery) is False
    assert timer.release(delivery) is False
    assert claim() == []


def test_a_renewal_of_an_event_without_redeliveries_is_refused(timer, store, claim):
    seed(store, event("x", max_redeliveries=0))
    (delivery,) = claim()
    assert timer.renew(delivery) is False


def test_events_with_and_without_redeliveries_are_claimed_together(store, claim, redis_client):
    seed(store, *(event(str(i), PAST_MS + i, max_redeliveries=i % 2) for i in range(6)))
    deliveries = claim()
    assert [delivery.id for delivery in deliveries] == [str(i) for i in range(6)]
    assert [bool(delivery.token) for delivery in deliveries] == [False, True] * 3
    assert redis_client.hlen("{dt:0}:events") == 0
    assert redis_client.hlen("{dt:0}:leased") == redis_client.hlen("{dt:0}:taken") == 3


# --- posted again while it is being delivered


def test_confirm_of_the_old_delivery_ends_only_that_and_the_new_event_survives(timer, store, claim):
    seed(store, event("x", payload=b"old"))
    (old,) = claim()
    seed(store, event("x", payload=b"new"))
    assert timer.confirm(old) is True
    assert timer.peek("x").payload == b"new"
    (new,) = claim()
    assert (new.payload, new.redeliveries) == (b"new", 0)
    assert timer.confirm(new) is True
    assert timer.peek("x") is None


def test_a_lapse_of_the_old_delivery_redelivers_it_beside_the_new_event(timer, store, claim):
    seed(store, event("x", payload=b"old"))
    claim(lease_ms=LAPSED_MS)
    seed(store, event("x", payload=b"new"))
    assert {(d.id, d.payload, d.redeliveries) for d in claim()} == {("x", b"old", 1), ("x", b"new", 0)}


def test_each_of_two_deliveries_of_one_id_is_ended_by_its_own_token(timer, store, claim, redis_client):
    seed(store, event("x", payload=b"old"))
    (old,) = claim()
    seed(store, event("x", payload=b"new"))
    (new,) = claim()
    assert old.token != new.token
    assert timer.confirm(new) is True
    assert timer.confirm(new) is False
    assert timer.release(old) is True
    (again,) = wait_until(claim, "what was given back to be claimable")
    assert (again.payload, again.redeliveries) == (b"old", 1)
    assert timer.confirm(again)
    assert snapshot(redis_client) == {}


def test_parking_the_old_delivery_leaves_the_new_event_pending(timer, store, claim):
    seed(store, event("x", payload=b"old"))
    (old,) = claim()
    seed(store, event("x", FUTURE_MS, payload=b"new"))
    assert list(store.ask(store.park("default", [old], "why"))) == [1]
    assert timer.peek("x").state is State.PENDING
    assert timer.cancel("x")
    assert timer.peek("x").payload == b"old"


def test_a_second_parking_of_an_id_keeps_the_first(timer, store, claim):
    for payload in (b"first", b"second"):
        seed(store, event("x", payload=payload))
        store.ask(store.park("default", claim(), "why"))
    assert timer.count().parked == 2
    assert timer.peek("x").payload == b"second"
    assert timer.replay("x")
    assert timer.peek("x").state is State.PENDING
    assert timer.cancel("x")
    assert timer.peek("x").payload == b"first"
    assert timer.cancel("x")
    assert timer.peek("x") is None
