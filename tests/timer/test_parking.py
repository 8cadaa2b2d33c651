"""What is parked: pages of it, one way back and one end, for one event and for many."""

import time

import pytest
from rig.keyspace import contents, snapshot
from rig.waiting import wait_until
from seeds import FUTURE_MS, PAST_MS, event, seed

from celery_dtimer import DTimer, InvalidEventError, State, TimerUnavailableError, Unparked
from celery_dtimer.timer.events import Counts, Verdict
from celery_dtimer.timer.storing import parking
from celery_dtimer.timer.storing.parking import Position


@pytest.fixture
def park(store, claim):
    """Parks an event for each id, in that order: ``park("a", "b", kind=, reason=)``."""

    def park(*ids, kind=None, reason="why", queue="default"):
        for event_id in ids:
            seed(store, event(event_id, kind=kind, queue=queue, payload=event_id.encode()))
            (delivery,) = claim(queue)
            store.ask(store.verdicts(queue, [Verdict(delivery, "park", 0, reason)]))

    return park


def ids(page):
    return [event.id for event in page]


@pytest.fixture
def last(timer):
    """What a page says of the event that was parked last: reason, deliveries, holder and error."""

    def last():
        event = timer.parked()[0]
        # What is parked in one millisecond stands by its id: the next is parked in a later one.
        wait_until(lambda: time.time() * 1000 > event.parked_at.timestamp() * 1000 + 1, "the next millisecond")
        return event.reason, event.deliveries, event.holder, event.error

    return last


def test_a_page_says_what_is_parked_since_when_and_why_the_newest_first(timer, park, now_ms):
    before = now_ms()
    park("a", kind="proj.a", reason="no worker knows the task 'proj.a'")
    park("b")
    b, a = timer.parked()
    assert (b.id, b.kind, b.reason) == ("b", None, "why")
    assert (a.id, a.queue, a.kind, a.reason) == ("a", "default", "proj.a", "no worker knows the task 'proj.a'")
    assert (a.redeliveries, a.max_redeliveries, a.due_at.timestamp() * 1000) == (0, 20, PAST_MS)
    assert before <= a.parked_at.timestamp() * 1000 <= b.parked_at.timestamp() * 1000 <= now_ms()
    facts = a.as_dict()
    assert (facts["kind"], facts["deliveries"], facts["holder"], facts["error"]) == ("proj.a", 1, "holder", None)
    assert facts["cursor"] == a.cursor
    assert facts["parked_at"] == a.parked_at.isoformat()


def test_the_error_of_a_delivery_is_known_when_its_event_is_parked_whatever_parks_it(store, claim, last):
    lost = "redelivered too often: the lease lapsed"
    seed(store, event("x", max_redeliveries=1))
    (first,) = claim(holder="a")
    store.ask(store.verdicts("default", [Verdict(first, "release", -10, "why", "ValueError: one")]))
    (second,) = claim(holder="b")
    store.ask(store.verdicts("default", [Verdict(second, "release", -10, "its task was requeued", "ValueError: two")]))
    assert last() == ("redelivered too often: its task was requeued", 2, "b", "ValueError: two")

    seed(store, event("y", max_redeliveries=1))
    (first,) = claim(holder="a")
    store.ask(store.verdicts("default", [Verdict(first, "release", -10, "why", "ValueError: one")]))
    assert claim(holder="b", lease_ms=-1)
    assert claim(holder="c") == []
    assert last() == (lost, 2, "b", "ValueError: one")

    seed(store, event("z", max_redeliveries=1))
    assert claim(holder="a", lease_ms=-1)
    assert claim(holder="b", lease_ms=-1)
    assert claim(holder="c") == []
    assert last() == (lost, 2, "b", None)

    seed(store, event("w"))
    (first,) = claim(holder="a")
    store.ask(store.verdicts("default", [Verdict(first, "park", 0, "its task was rejected", "KeyError: 5")]))
    assert last() == ("its task was rejected", 1, "a", "KeyError: 5")


def test_an_error_outlives_what_moves_its_event_and_ends_with_a_replay(timer, store, claim, last, redis_client):
    seed(store, event("x"))
    (delivery,) = claim()
    store.ask(store.verdicts("default", [Verdict(delivery, "release", 60_000, "why", "ValueError: one")]))
    assert timer.change_delay("x", 0)
    # Nobody claims what was given back ahead of its time, which is the next millisecond.
    (delivery,) = wait_until(claim, "the event to be due")
    store.ask(store.release("default", [delivery], counted=False, backoff_ms=60_000))
    store.post([event("x", PAST_MS)], conflict="postpone")
    (delivery,) = claim()
    store.ask(store.park("default", [delivery], "why"))
    assert last()[3] == "ValueError: one"
    assert timer.replay("x")
    (delivery,) = wait_until(claim, "the event to be due")
    assert "ValueError" not in str(contents(redis_client))
    store.ask(store.park("default", [delivery], "why"))
    assert last() == ("why", 1, "holder", None)


def test_records_of_an_older_version_are_read(timer, store, claim, last, redis_client):
    seed(store, event("x", max_redeliveries=1), event("y"))
    x, y = sorted(claim(lease_ms=-1), key=lambda delivery: delivery.id)
    older = b"\x96\xa3why\xcf\x00\x00\x01\x8c\x00\x00\x00\x00\x00\x02\xa7default\x14"
    store.ask(store.park("default", [y], "why"))
    redis_client.hset("{dt:0}:parked", y.key, older)
    assert last() == ("why", 1, None, None)
    # A lease never had more than five fields when there was no error.
    assert contents(redis_client)["leased"].popitem()[1][1:] == ["holder", 0, PAST_MS, "default", 1]
    # What stands where the error should be, and is no text, is none.
    record = redis_client.hget("{dt:0}:leased", x.key)
    head, _, packed = record.partition(b"\n")
    redis_client.hset("{dt:0}:leased", x.key, head + b"\n\x96" + packed[1:] + b"\x05")
    (x,) = claim()
    store.ask(store.park("default", [x], "why"))
    assert last() == ("why", 2, "holder", None)


def test_a_page_can_be_of_one_id(timer, park):
    park("a", "b", reason="first")
    park("a", reason="second")
    assert [event.reason for event in timer.parked(id="a")] == ["second", "first"]
    assert [event.reason for event in timer.parked(id="a", limit=1)] == ["second"]
    assert ids(timer.parked(id="a", reason="first")) == ["a"]
    assert timer.parked(id="nobody") == []
    with pytest.raises(InvalidEventError, match="after must be None if an id is given, got"):
        timer.parked(id="a", after=timer.parked()[0].cursor)
    with pytest.raises(InvalidEventError, match="id must be a string of 1 to 200 bytes"):
        timer.parked(id="")


def test_pages_follow_each_other_whatever_becomes_of_the_event_that_they_follow(timer, park, redis_client):
    names = [f"{number:02}" for number in range(26)]
    park(*names)
    # All in one instant: their keys decide.
    redis_client.zadd("{dt:0}:parked_at", dict.fromkeys(redis_client.zrange("{dt:0}:parked_at", 5, 20), PAST_MS))
    in_order = ids(timer.parked())
    assert sorted(in_order) == names
    seen, cursor = [], None
    while page := timer.parked(4, after=cursor):
        seen += ids(page)
        cursor = page[-1].cursor
        assert timer.drop(page[-1].id)
        assert timer.replay(page[0].id, 60)
    assert seen == in_order


def test_pages_are_of_a_kind_and_of_a_reason_and_are_looked_for_in_bounded_calls(timer, park, monkeypatch):
    monkeypatch.setattr(parking, "MOST_LOOKED_AT", 3)
    park(*(f"a{number}" for number in range(10)), kind="proj.a")
    park("b", kind="proj.b", reason="redelivered too often: the lease lapsed")
    park(*(f"c{number}" for number in range(10)), reason="[%a] (.*)")
    assert ids(timer.parked(kind="proj.b")) == ["b"]
    assert ids(timer.parked(reason="too often")) == ["b"]
    assert ids(timer.parked(reason="[%a]", limit=2)) == ["c9", "c8"]
    assert ids(timer.parked(kind="proj.a", reason="often")) == ids(timer.parked(kind="proj")) == []
    cursor = timer.parked(kind="proj.a", limit=4)[-1].cursor
    assert ids(timer.parked(kind="proj.a", after=cursor)) == ["a5", "a4", "a3", "a2", "a1", "a0"]


def test_a_cursor_of_another_timer_or_of_nobody_is_refused(timer, park, redis_url):
    park("a")
    cursor = timer.parked()[0].cursor
    assert timer.parked(after=cursor) == []
    forged = Position(PAST_MS, b"a").cursor("somebody")
    for wrong in ("", "nonsense", cursor[:-1], cursor[1:], "A" + cursor, forged, 5, b"x", "\ud800"):
        with pytest.raises(
            InvalidEventError, match=r"after must be the cursor of an event that this timer's parked\(\)"
        ):
            timer.parked(after=wrong)
    with (
        DTimer(redis_url, namespace="other") as other,
        pytest.raises(InvalidEventError, match="after must be the cursor"),
    ):
        other.parked(after=cursor)


def test_a_drop_ends_the_newest_that_is_parked_and_leaves_what_is_pending(timer, park):
    park("a", reason="first")
    park("a", reason="second")
    timer.post(b"pending", 60, id="a")
    assert timer.drop("a")
    assert [event.reason for event in timer.parked()] == ["first"]
    assert timer.peek("a").state is State.PENDING
    assert timer.drop("a")
    assert not timer.drop("a")
    assert timer.count() == Counts(1, 0, 0)


def test_many_are_replayed_by_their_ids(timer, park):
    park("a", "b", "c", queue="one")
    park("d", queue="two")
    timer.post(b"", 60, id="b")
    assert timer.replay_many(["a", "b", "nobody", "d", "a"], delay=30) == Unparked(2, ("b",), ("nobody",))
    assert ids(timer.parked()) == ["c", "b"]
    assert ids(timer.upcoming()) == ["a", "d", "b"]
    assert timer.peek("d").payload == b"d"
    assert timer.replay_many([]) == Unparked(0)


def test_many_are_replayed_or_dropped_by_their_kind_or_reason_or_all(timer, park):
    park("a1", "a2", kind="proj.a", reason="it broke")
    park("b1", "b2", kind="proj.b", reason="it broke")
    park("c1", "c2", reason="too often")
    assert timer.replay_many(kind="proj.a") == Unparked(2)
    assert timer.drop_many(kind="proj.b", reason="too often") == Unparked(0)
    assert timer.drop_many(reason="often") == Unparked(2)
    assert ids(timer.parked()) == ["b2", "b1"]
    assert timer.drop_many(["b1", "b3"]) == Unparked(1, (), ("b3",))
    assert timer.replay_many(all=True) == Unparked(1)
    assert timer.count() == Counts(3, 0, 0)


def test_all_of_them_are_more_than_one_batch_and_of_one_id_the_newest_is_replayed(timer, store, claim, redis_client):
    for first in range(0, 1200, 400):
        store.post([event(f"{number}") for number in range(first, first + 400)])
    while deliveries := claim(room=256):
        store.ask(store.park("default", deliveries, "why"))
    seed(store, event("0", queue="other"))
    store.ask(store.park("other", claim("other"), "why"))
    assert timer.count() == Counts(0, 0, 1201)
    assert timer.replay_many(all=True, delay=60) == Unparked(1200, ("0",))
    assert timer.peek("0").queue == "other"
    assert timer.count() == Counts(1200, 0, 1)
    redis_client.flushdb()


def test_a_dry_run_says_what_would_be_done_and_does_nothing(timer, park, redis_client):
    park("a", "b", kind="proj.a")
    park("c")
    timer.post(b"", 60, id="b")
    before = snapshot(redis_client)
    assert timer.replay_many(["a", "b", "nobody"], dry_run=True) == Unparked(1, ("b",), ("nobody",))
    assert timer.replay_many(all=True, dry_run=True) == Unparked(2, ("b",))
    assert timer.drop_many(kind="proj.a", dry_run=True) == Unparked(2)
    assert snapshot(redis_client) == before


def test_a_rate_spreads_the_instants(timer, park):
    park("a", "b", "c")
    timer.replay_many(all=True, rate=0.5, delay=10)
    assert ids(timer.upcoming()) == ["c", "b", "a"]
    first, second, third = (event.due_at.timestamp() for event in timer.upcoming())
    assert 1.9 < second - first < 2.6
    assert 3.9 < third - first < 4.6


def test_large_events_go_in_several_calls(timer, park, store, monkeypatch):
    monkeypatch.setattr(parking, "MOST_BYTES", 1)
    park("a", "b", "c")
    calls, ask = [], store.ask
    monkeypatch.setattr(
        store, "ask", lambda call, *more, **options: calls.append(call.script.name) or ask(call, *more, **options)
    )
    assert timer.replay_many(["a", "b", "c"], delay=60) == Unparked(3)
    assert calls.count("replay") == 3
    park("d", "e")
    assert ids(timer.parked()) == ["e", "d"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "ids must be given, or a filter, or all=True, and no other of them, got "),
        ({"ids": ["a"], "all": True}, "ids must be given, or a filter, or all=True"),
        ({"kind": "k", "all": True}, "ids must be given, or a filter, or all=True"),
        ({"ids": "a"}, "ids must be a list of ids, got 'a'"),
        ({"ids": ["a", ""]}, "id must be a string of 1 to 200 bytes of UTF-8, got ''"),
        ({"kind": ""}, "kind must be a string of 1 to 255 bytes of UTF-8, got ''"),
        ({"reason": ""}, "reason must be a string of 1 to 1000 bytes of UTF-8, got ''"),
        ({"all": 1}, "ids must be given, or a filter, or all=True"),
        ({"all": True, "rate": 0}, "rate must be a number of events a second, 0.001 to 1e+06, or None, got 0"),
        ({"all": True, "rate": "fast"}, "rate must be a number of events a second"),
        ({"all": True, "rate": float("nan")}, "rate must be a number of events a second"),
    ],
)
def test_a_wrong_choice_is_refused_and_changes_nothing(timer, park, redis_client, arguments, said):
    park("a", kind="k")
    before = snapshot(redis_client)
    with pytest.raises(InvalidEventError) as caught:
        timer.replay_many(**arguments)
    assert said in str(caught.value)
    if "rate" not in arguments:
        with pytest.raises(InvalidEventError):
            timer.drop_many(**arguments)
    assert snapshot(redis_client) == before


def test_an_error_half_way_says_how_many_were_done(timer, park, store, monkeypatch):
    park("a", "b", "c")
    monkeypatch.setattr(parking, "MOST_BYTES", 1)
    ask = store.ask

    def fail(call, *more, **options):
        if call.script.name == "replay" and len(timer.parked()) == 1:
            raise TimerUnavailableError("the timer's Redis did not answer (gone)")
        return ask(call, *more, **options)

    monkeypatch.setattr(store, "ask", fail)
    with pytest.raises(TimerUnavailableError, match=r"did not answer \(gone\); 2 events were pending again before"):
        timer.replay_many(["a", "b", "c"])


def test_a_record_that_can_not_be_read_is_listed_and_dropped(timer, store, park, redis_client):
    park("a", "b", "c")
    for name, event_id in (("parked", b"a"), ("taken", b"b")):
        (key,) = (key for key in redis_client.hkeys("{dt:0}:" + name) if key.startswith(event_id))
        redis_client.hset("{dt:0}:" + name, key, b"\xc1")
    _, b, a = timer.parked()
    assert (a.id, a.reason) == ("a", "its record is unreadable")
    assert (b.kind, b.reason) == (None, "why")
    assert timer.drop_many(["a"]) == Unparked(1)
    assert timer.replay_many(all=True) == Unparked(1, (), ("b",))
    assert len(timer.damaged()) == 2
    assert "parked" not in contents(redis_client)


def test_a_full_redis_lets_drop(start_redis):
    server = start_redis(options={"maxmemory-policy": "noeviction"})
    with DTimer(server.url) as timer, server.client() as client:
        timer.post(b"", 0, id="x")
        store = timer.shards[0]
        call = store.claim(["default"], listener="l", holder="h", nonce="n", room=9, lease_ms=9, ahead_ms=100)
        (delivery,) = store.read_claim(store.ask(call), ["default"]).deliveries
        store.ask(store.park("default", [delivery], "why"))
        timer.post(b"", FUTURE_MS / 1000, id="y")
        client.config_set("maxmemory", 1)
        assert ids(timer.parked()) == ["x"]
        assert timer.drop("x")
        assert timer.count() == Counts(1, 0, 0)
