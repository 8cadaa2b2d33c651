"""What stands at the protocol's edges: many deliveries of one id, damaged records, wrong keys, lost answers."""

import logging

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rig.keyspace import snapshot
from rig.waiting import wait_until
from seeds import FUTURE_MS, PAST_MS, event, seed

from celery_dtimer.errors import SettingsError, TimerUnavailableError
from celery_dtimer.timer.connecting.redis_patches import never_repeating
from celery_dtimer.timer.dtimer import DTimer
from celery_dtimer.timer.events import State
from celery_dtimer.timer.storing.keys import Keys
from celery_dtimer.timer.storing.shard import Store

MANY = 1000


# --- many deliveries of one id


@pytest.fixture
def overlapping(store, claim):
    """A thousand deliveries of one id, all under way."""
    deliveries = []
    for number in range(MANY):
        seed(store, event("x", payload=b"%d" % number))
        deliveries += claim(lease_ms=10**9)
    return deliveries


@pytest.mark.timeout(120)
def test_a_thousand_deliveries_of_one_id_are_all_known(timer, store, claim, overlapping):
    assert timer.count().leased == MANY
    assert timer.peek("x").payload == b"999"
    assert timer.cancel("x").state is State.LEASED
    assert list(store.ask(store.park("default", overlapping[:1], "why"))) == [1]
    assert all(store.ask(store.confirm("default", overlapping[1:400])))
    assert all(store.ask(store.confirm("default", reversed(overlapping[600:]))))
    assert timer.peek("x").payload == b"599"
    seed(store, event("x", FUTURE_MS, payload=b"last"))
    assert timer.cancel("x")
    assert (timer.count().leased, timer.count().parked) == (0, 1)
    assert list(store.ask(store.confirm("default", overlapping[400:600]))) == [0] * 200
    assert timer.peek("x").payload == b"0"


def test_a_lapsed_lease_that_nobody_took_can_be_cancelled(timer, store, claim):
    seed(store, event("x"))
    (delivery,) = claim(lease_ms=-1)
    assert timer.cancel("x")
    assert timer.confirm(delivery) is False
    assert claim() == []


# --- a retry and what others posted


def test_a_retry_stands_beside_what_somebody_else_posted(timer, store, claim):
    seed(store, event("x", payload=b"first"))
    (first,) = claim()
    seed(store, event("x", payload=b"posted"))
    store.post([event("x", payload=b"retry")], conflict="follow", origin=first.key)
    assert timer.confirm(first)
    assert sorted(delivery.payload for delivery in claim()) == [b"posted", b"retry"]


def test_a_retry_that_is_posted_twice_is_stored_once(timer, store, claim):
    seed(store, event("x", payload=b"first"))
    (first,) = claim()
    for payload in (b"retry", b"again"):
        store.post([event("x", payload=payload)], conflict="follow", origin=first.key)
    assert [delivery.payload for delivery in claim()] == [b"again"]


def test_a_retry_beside_another_event_that_is_posted_twice_is_stored_once(timer, store, claim):
    seed(store, event("x", payload=b"first"))
    (first,) = claim()
    seed(store, event("x", FUTURE_MS, payload=b"posted"))
    for payload in (b"retry", b"again"):
        store.post([event("x", payload=payload, queue="other")], conflict="follow", origin=first.key)
    assert [delivery.payload for delivery in claim("other")] == [b"again"]
    assert timer.peek("x").payload == b"posted"
    assert timer.cancel("x")


def test_a_retry_beside_another_event_leaves_alone_what_an_earlier_one_left_parked(timer, store, claim):
    seed(store, event("x", payload=b"first"))
    (first,) = claim()
    seed(store, event("x", FUTURE_MS, payload=b"posted"))
    for payload in (b"one", b"two"):
        store.post([event("x", payload=payload)], conflict="follow", origin=first.key)
        store.ask(store.park("default", claim(), "why"))
    assert timer.count().parked == 2
    assert timer.confirm(first)
    assert timer.cancel("x")
    assert {timer.peek("x").payload, timer.cancel("x") and timer.peek("x").payload} == {b"one", b"two"}
    assert timer.cancel("x")


# --- records that can't be read, keys of a wrong type

GARBAGE = [b"", b"\xc1", b"\x93\x01\x01\x01", b"token\n\xc1"]


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("where", ["events", "leased", "taken"])
def test_a_damaged_record_is_put_aside_and_stops_nobody(timer, store, claim, redis_client, where, garbage):
    seed(store, event("bad"))
    if where != "events":
        claim(lease_ms=-1)
    seed(store, *(event(f"good{i}", PAST_MS - 1 + i) for i in range(3)))
    key = f"{{dt:0}}:{where}"
    field = next(name for name in redis_client.hkeys(key) if name.startswith(b"bad"))
    redis_client.hset(key, field, garbage)
    assert [delivery.id for delivery in claim()] == ["good0", "good1", "good2"]
    assert {damaged.id for damaged in timer.damaged()} == {"bad"}
    assert garbage in {damaged.record for damaged in timer.damaged()}
    assert timer.count().damaged == len(timer.damaged())
    assert timer.peek("bad") is None
    assert all(timer.drop_damaged(damaged) for damaged in timer.damaged())
    assert timer.damaged() == []


@pytest.mark.parametrize("where", ["events", "leased", "parked"])
def test_the_api_gets_rid_of_a_damaged_record(timer, store, claim, redis_client, where):
    seed(store, event("x"))
    if where != "events":
        deliveries = claim()
    if where == "parked":
        store.ask(store.park("default", deliveries, "why"))
    key = f"{{dt:0}}:{where}"
    (field,) = redis_client.hkeys(key)
    redis_client.hset(key, field, b"\xc1")
    assert timer.peek("x") is None
    assert timer.post(b"new", 60, id="x", on_conflict="replace") == "x"
    assert timer.peek("x").payload == b"new"
    assert timer.cancel("x")
    while timer.cancel("x"):
        pass
    redis_client.delete("{dt:0}:lease:default", "{dt:0}:promise", "{dt:0}:wake:default")


def test_an_id_that_is_no_text_is_put_aside_and_its_neighbours_are_delivered(timer, store, redis_client, caplog):
    seed(store, event("x"), event("y"))
    record = redis_client.hget("{dt:0}:events", "x")
    redis_client.hset("{dt:0}:events", b"\xfe\xfd", record)
    redis_client.zadd("{dt:0}:due:default", {b"\xfe\xfd": PAST_MS})
    rung = []
    with caplog.at_level(logging.ERROR), DTimer(redis_client) as listener:
        listener.on_event(lambda delivery: rung.append(delivery.id) or listener.confirm(delivery))
        listener.join()
        wait_until(lambda: sorted(rung) == ["x", "y"] and timer.damaged(), "the neighbours to be delivered")
    assert r"\xfe\xfd" in caplog.text
    assert timer.count() == (timer.count().__class__)(0, 0, 0, len(timer.damaged()))


def test_a_queue_whose_key_has_a_wrong_type_is_named_and_the_others_go_on(timer, store, redis_client, caplog):
    redis_client.set("{dt:0}:due:one", "text")
    seed(store, event("x", queue="two"))
    rung = []
    with caplog.at_level(logging.ERROR), DTimer(redis_client, queues=("one", "two")) as listener:
        listener.on_event(lambda delivery: rung.append(delivery.id) or listener.confirm(delivery))
        listener.join()
        wait_until(lambda: rung == ["x"], "the other queue's event")
        wait_until(lambda: "{dt:0}:due:one is a string" in caplog.text, "the key to be named")
    with pytest.raises(TimerUnavailableError, match=r"\{dt:0\}:due:one is a string, and the timer's is a zset"):
        timer.post(b"p", 60, id="y", queue="one")
    redis_client.delete("{dt:0}:due:one", "{dt:0}:promise", "{dt:0}:events", "{dt:0}:wake:one")


def test_nothing_is_lost_when_it_can_not_be_parked(timer, store, claim, redis_client):
    redis_client.set("{dt:0}:parked", "text")
    seed(store, event("x", max_redeliveries=1))
    for _ in range(3):
        claim(lease_ms=-1)
    redis_client.delete("{dt:0}:parked")
    assert claim() == []
    assert timer.peek("x").state is State.PARKED


def test_infinite_scores_are_instants_like_others(timer, store, redis_client):
    seed(store, event("x", FUTURE_MS), event("y", FUTURE_MS))
    redis_client.zadd("{dt:0}:due:default", {"x": "inf", "y": "-inf"})
    assert [row.id for row in timer.upcoming()] == ["y", "x"]
    assert timer.peek("x").due_at > timer.peek("y").due_at


# --- lost answers


def test_a_client_that_repeats_commands_is_not_let_to():
    given = redis.Redis(retry=Retry(NoBackoff(), 3), retry_on_error=[ConnectionError])
    client = never_repeating(given)
    assert client.connection_pool.make_connection().retry._retries == 0
    assert given.connection_pool.make_connection().retry._retries == 3


# --- the layout


def test_a_namespace_of_another_layout_is_refused_and_not_touched(redis_url, redis_client):
    redis_client.set("{dt:0}:layout", "2/1")
    timer = DTimer(redis_url)
    with pytest.raises(SettingsError, match="layout '2'"):
        timer.post(b"p", 60)
    with pytest.raises(SettingsError, match="layout '2'"):
        timer.count()
    assert snapshot(redis_client) == {}


def test_a_namespace_that_lost_its_data_gets_the_shards_that_it_had(redis_url, redis_client):
    with DTimer(redis_url, shards=4) as old, DTimer(redis_url, shards=4) as new:
        old.post(b"p", 60, id="x")
        redis_client.flushall()
        ids = [old.post(b"p", 60) for _ in range(8)]
        assert new.count().pending == 8
        with pytest.raises(SettingsError, match="first used with 4"):
            DTimer(redis_url, shards=1).post(b"p", 60)
        assert all(new.cancel(each) for each in ids)


def test_a_namespace_that_is_used_anew_with_other_settings_refuses_the_old_ones(redis_url, redis_client):
    with DTimer(redis_url, shards=4) as old, DTimer(redis_url) as new:
        old.post(b"p", 60, id="x")
        redis_client.flushall()
        new.post(b"p", 60, id="y")
        for _ in range(8):
            with pytest.raises(SettingsError, match="first used with 1"):
                old.post(b"p", 60)
        assert new.cancel("y")


def test_a_store_of_its_own_settles_its_shard(store, redis_client):
    seed(store, event("x", FUTURE_MS))
    assert redis_client.get("{dt:0}:layout") == b"1/1"
    assert Store(store.server, Keys("dt")).peek("x")
    store.cancel("x")


def test_what_nobody_polls_any_more_leaves_the_polls(store, redis_client):
    redis_client.hset("{dt:0}:polls", mapping={f"old{i}": "1 1 0" for i in range(20)})

    def gone():
        call = store.claim(("q",), listener="l", holder="h", nonce="n", room=1, lease_ms=1000, is_poll=True)
        store.ask(call)
        return redis_client.hkeys("{dt:0}:polls") == [b"q"]

    wait_until(gone, "the others to be dropped")


# --- batches


def test_a_claim_of_large_payloads_stops_and_comes_again(store, claim):
    large = b"p" * 200_000
    seed(store, *(event(str(i), PAST_MS + i, payload=large) for i in range(8)))
    assert [delivery.id for delivery in claim()] == ["0", "1", "2"]
    assert [delivery.id for delivery in claim()] == ["3", "4", "5"]
    assert [delivery.id for delivery in claim()] == ["6", "7"]
