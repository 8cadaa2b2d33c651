"""Holds, parked events, forecasts and changes of many, over several shards."""

import pytest
from rig.keyspace import finish, snapshot

from celery_dtimer import ChangeManyError, DTimer, Post, TooManyHoldsError, Unparked


def test_what_is_parked_in_all_shards_is_one_list(redis_url, redis_client):
    with DTimer(redis_url, namespace="many", shards=3) as timer:
        for number in range(12):
            timer.post(b"", 0, id=str(number))
            for store in timer.shards:
                call = store.claim(
                    ["default"], listener="l", holder="h", nonce="n", room=9, lease_ms=1000, ahead_ms=100
                )
                for delivery in store.read_claim(store.ask(call), ["default"]).deliveries:
                    store.ask(store.park("default", [delivery], "why"))
        everything = [event.id for event in timer.parked()]
        assert sorted(everything, key=int) == [str(number) for number in range(12)]
        seen, cursor = [], None
        while page := timer.parked(5, after=cursor):
            seen += [event.id for event in page]
            cursor = page[-1].cursor
        assert seen == everything
        assert timer.drop_many(["0", "1", "nobody"]) == Unparked(2, (), ("nobody",))
        assert timer.replay_many(all=True, delay=60) == Unparked(10)
        for store in timer.shards:
            finish(store, redis_client)
    assert snapshot(redis_client) == {}


def test_all_shards_hold_and_one_that_does_not_is_told(redis_url, redis_client):
    with DTimer(redis_url, namespace="many", shards=3) as timer:
        assert timer.hold(queue="mail")
        assert timer.hold(kind="proj.a")
        assert [hold.complete for hold in timer.holds()] == [True, True]
        timer.shards[1].resume("mail")
        timer.shards[2].resume_kind("proj.a")
        assert [hold.complete for hold in timer.holds()] == [False, False]
        assert timer.hold(queue="mail")
        assert timer.hold(kind="proj.a")
        assert [hold.complete for hold in timer.holds()] == [True, True]
        for number in range(26):
            timer.shards[2].hold_kind(f"kind{number}")
        timer.shards[1].hold_kind("more")
        with pytest.raises(TooManyHoldsError):
            timer.hold(kind="more")
        assert [hold.name for hold in timer.shards[0].holds() if hold.name == "more"] == []
        assert [hold.name for hold in timer.shards[1].holds() if hold.name == "more"] == ["more"]
        for store in timer.shards:
            finish(store, redis_client)
    assert snapshot(redis_client) == {}


def test_the_shards_of_a_namespace_are_counted_together(redis_url):
    with DTimer(redis_url, namespace="spread", shards=4) as timer:
        ids = [timer.post(b"p", 1800, queue=("mail", "report")[number % 2]) for number in range(20)]
        assert timer.forecast(3600, 2) == {"mail": [10, 0], "report": [10, 0]}
        assert all(timer.cancel(event_id) for event_id in ids)


def test_events_of_several_shards_are_answered_in_order(redis_url):
    with DTimer(redis_url, "sharded", shards=3) as timer:
        ids = timer.post_many([Post(str(number), 60) for number in range(250)])
        answers = timer.cancel_many(ids)
        assert [answer.payload for answer in answers] == [str(number).encode() for number in range(250)]


def test_a_failure_has_the_answers_so_far(start_redis):
    server = start_redis()
    with DTimer(server.url, shards=2) as timer:
        here = next(name for name in "abcdef" if timer.shards.number_of(name) == 0)
        there = next(name for name in "abcdef" if timer.shards.number_of(name) == 1)
        timer.post_many([Post(b"p", 60, id=here), Post(b"p", 60, id=there)])
        client = timer.shards.servers.clients()[0]
        client.rename(timer.shards[1].keys.events, "aside")
        client.set(timer.shards[1].keys.events, "of a wrong type")
        with pytest.raises(ChangeManyError, match="1 of 2 events were changed, 0 could not be, and 1 may") as caught:
            timer.cancel_many([there, here])
        assert caught.value.answers[here]
        assert caught.value.unknown == (there,)
        assert "WRONGTYPE" in str(caught.value)
        server.kill()
        with pytest.raises(ChangeManyError, match="0 of 1 events were changed") as caught:
            timer.change_many([here], 60)
        assert caught.value.answers == {}


def test_what_has_a_tag_is_found_and_changed_in_all_shards(redis_url, redis_client):
    with DTimer(redis_url, namespace="many", shards=3) as timer:
        timer.post_many([Post(b"", 60 + n, id=str(n), tags=["a"], kind="k") for n in range(12)])
        timer.post_many([Post(b"", 60, id=f"b{n}", tags=["b"]) for n in range(12)])
        expected = [str(n) for n in range(12)]
        assert [event.id for event in timer.upcoming(tag="a")] == expected
        assert [event.id for event in timer.upcoming(kind="k", skip=2, limit=5)] == expected[2:7]
        assert sum(map(bool, timer.change_many(delay=90, tag="a"))) == 12
        assert sum(map(bool, timer.cancel_many(kind="k"))) == 12
        assert sum(map(bool, timer.cancel_many(tag="b"))) == 12
    assert snapshot(redis_client) == {}
