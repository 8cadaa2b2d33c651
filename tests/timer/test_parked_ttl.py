"""What has been parked for longer than a listener is told goes, by its ordinary rounds, and nothing else does."""

import logging

import pytest
from rig.keyspace import contents, snapshot
from rig.waiting import wait_until
from seeds import event, seed

from celery_dtimer import DTimer
from celery_dtimer.timer.events import Counts
from celery_dtimer.timer.listening import old_parked
from celery_dtimer.timer.listening.config import ListenerConfig
from celery_dtimer.timer.listening.listener import Listener
from celery_dtimer.timer.storing import parking

HOUR_MS = 3_600_000


def park(store, *ids, queue="default"):
    for event_id in ids:
        seed(store, event(event_id, queue=queue))
        call = store.claim([queue], listener="l", holder="h", nonce="n", room=1, lease_ms=60_000)
        store.ask(store.park(queue, store.read_claim(store.ask(call), [queue]).deliveries, "why"))


def age(client, *ids, by_ms=HOUR_MS, prefix="{dt:0}:"):
    """Let events have been parked that much earlier."""
    for key in client.zrange(prefix + "parked_at", 0, -1):
        if key.rpartition(b"\xff")[0].decode() in ids:
            client.zincrby(prefix + "parked_at", -by_ms, key)


@pytest.fixture
def listen():
    """Starts a listener of a timer's shards: ``listen(timer, **config)``; returns the queues of what it drops."""
    listeners = []

    def listen(timer, **options):
        dropped = []
        config = ListenerConfig(
            queues=lambda: ("default",),
            deliver=lambda deliveries: None,
            max_events=8,
            confirm_timeout=10.0,
            poll_interval=0.1,
            on_error=lambda exc: None,
            on_dropped=dropped.extend,
            **options,
        )
        listeners.append(Listener(timer.shards, config))
        listeners[-1].start()
        return dropped

    yield listen
    for listener in listeners:
        assert listener.stop(10)


def test_only_what_was_parked_long_ago_is_dropped(timer, store, redis_client):
    park(store, "old", "young")
    park(store, "other", queue="two")
    timer.post(b"", 60, id="pending")
    age(redis_client, "old", "other")
    before = snapshot(redis_client)
    assert store.ask(store.drop_old(2 * HOUR_MS)) == []
    assert snapshot(redis_client) == before
    assert sorted(store.ask(store.drop_old(HOUR_MS // 2))) == [b"default", b"two"]
    assert [parked.id for parked in timer.parked()] == ["young"]
    found = contents(redis_client)
    assert set(found["taken"]) == set(found["parked"]) == set(found["parked_at"]) == set(found["parked_ids"])
    assert timer.count() == Counts(1, 0, 1)


def test_a_call_drops_so_many_at_most_the_oldest_first(timer, store, redis_client, monkeypatch):
    monkeypatch.setattr(parking, "MOST_DROPPED", 2)
    park(store, "a", "b", "c")
    age(redis_client, "a", "b", "c")
    age(redis_client, "b", "c")
    assert store.ask(store.drop_old(HOUR_MS // 2)) == [b"default", b"default"]
    assert [parked.id for parked in timer.parked()] == ["a"]
    assert store.ask(store.drop_old(HOUR_MS // 2)) == [b"default"]


def test_damaged_and_foreign_records_break_no_call_and_no_lease(timer, store, claim, redis_client):
    park(store, "a", "b")
    a, b = redis_client.zrange("{dt:0}:parked_ids", 0, -1)
    redis_client.hset("{dt:0}:parked", a, b"\xc1")
    redis_client.hdel("{dt:0}:parked", b)
    seed(store, event("leased"))
    (delivery,) = claim()
    redis_client.zadd("{dt:0}:parked_at", {delivery.key: 0})
    age(redis_client, "a", "b")
    assert store.ask(store.drop_old(HOUR_MS // 2)) == [b""] * 3
    assert list(contents(redis_client)["taken"]) == list(contents(redis_client)["leased"])
    assert list(store.ask(store.confirm("default", [delivery]))) == [1]
    assert timer.count() == Counts(0, 0, 0)


def test_a_listener_with_the_setting_drops_in_all_shards_and_one_without_it_does_not(
    redis_url, redis_client, listen, caplog, monkeypatch
):
    caplog.set_level(logging.INFO, "celery_dtimer")
    monkeypatch.setattr(parking, "MOST_DROPPED", 2)
    monkeypatch.setattr(old_parked, "MOST_DROPPED", 2)
    with DTimer(redis_url, shards=2) as timer:
        for number, store in enumerate(timer.shards):
            ids = [event_id for event_id in map(str, range(20)) if timer.shards.number_of(event_id) == number][:4]
            park(store, *ids)
            age(redis_client, *ids[:3], prefix=store.keys.prefix)
        without = listen(timer)
        wait_until(lambda: redis_client.exists("{dt:0}:polls"), "a poll")
        dropped = listen(timer, parked_ttl=1800.0)
        wait_until(lambda: len(dropped) == 6, "all that is old to be dropped")
        wait_until(lambda: caplog.text.count("are dropped") == 2, "both shards to be logged")
        assert caplog.text.count("dtimer: 3 events were parked for longer than 1800 s (dtimer_parked_ttl)") == 2
        assert set(dropped) == {"default"}
        assert without == []
        assert timer.count() == Counts(0, 0, 2)
        timer.drop_many(all=True)


def test_what_is_old_is_dropped_with_a_claim_and_looked_for_at_intervals(timer, listen, monkeypatch):
    monkeypatch.setattr(old_parked, "LOOK_INTERVAL", 3600.0)
    batches = []
    send = type(timer.shards[0]).run_all_steps
    monkeypatch.setattr(
        type(timer.shards[0]),
        "run_all_steps",
        lambda self, calls, **how: batches.append([call.script.name for call in calls]) or send(self, calls, **how),
    )
    listen(timer, parked_ttl=3600.0)
    wait_until(lambda: sum("claim" in batch for batch in batches) > 3, "some claims")
    assert [batch for batch in batches if "drop_old" in batch] == [["drop_old", "claim"]]


def test_a_full_redis_lets_old_ones_go(start_redis):
    server = start_redis(options={"maxmemory-policy": "noeviction"})
    with DTimer(server.url) as timer, server.client() as client:
        park(timer.shards[0], "x")
        age(client, "x")
        client.config_set("maxmemory", 1)
        assert timer.shards[0].ask(timer.shards[0].drop_old(1000)) == [b"default"]
        assert timer.count() == Counts(0, 0, 0)
