"""Pages of what is pending, and counts."""

from datetime import timedelta

from rig.keyspace import snapshot
from seeds import FUTURE_MS, PAST_MS, at, event, seed

from celery_dtimer.timer.dtimer import Post
from celery_dtimer.timer.events import Counts, Upcoming


def ids(page):
    return [row.id for row in page]


def test_upcoming_is_what_is_pending_in_all_queues_soonest_first(timer, store):
    seed(
        store,
        event("c", FUTURE_MS + 2, queue="one"),
        event("a", PAST_MS, queue="two"),
        event("d", FUTURE_MS + 2, queue="two"),
        event("b", FUTURE_MS, queue="one"),
    )
    assert timer.upcoming() == [
        Upcoming("a", "two", at(PAST_MS), None, None),
        Upcoming("b", "one", at(FUTURE_MS), None, None),
        Upcoming("c", "one", at(FUTURE_MS + 2), None, None),
        Upcoming("d", "two", at(FUTURE_MS + 2), None, None),
    ]


def test_upcoming_of_nothing_is_empty(timer):
    assert timer.upcoming() == []
    assert timer.count() == Counts(0, 0, 0)


def test_payloads_come_only_when_they_are_asked_for(timer, store):
    seed(store, event("x", payload=b""), event("y", PAST_MS + 1, payload=b"\x00[]"))
    assert [row.payload for row in timer.upcoming(payloads=True)] == [b"", b"\x00[]"]
    assert [row.payload for row in timer.upcoming()] == [None, None]


def test_pages_join_without_a_gap_or_an_overlap(timer):
    # Some of one instant in several queues, and many of one instant in one of them.
    posts = [Post(b"", eta=at(FUTURE_MS + i // 3), id=f"{i:03}", queue=f"q{i % 4}") for i in range(100)]
    posts += [Post(b"", eta=at(FUTURE_MS + 20), id=f"{i:03}", queue="q2") for i in range(100, 140)]
    posts += [Post(b"", eta=at(PAST_MS), id=f"{i:03}", queue="q1") for i in range(140, 143)]
    timer.post_many(posts)
    expected = [post.id for post in sorted(posts, key=lambda post: (post.eta, post.queue, post.id))]
    for limit in (1, 7, 50):
        pages = [timer.upcoming(limit=limit, skip=skip) for skip in range(0, len(posts) + 2 * limit, limit)]
        assert [event_id for page in pages for event_id in ids(page)] == expected
        assert max(map(len, pages)) == limit
        assert pages[-1] == []
    later = [event_id for event_id in expected if event_id < "140"]
    assert [ids(timer.upcoming(offset=1, limit=5, skip=skip)) for skip in (0, 70, 139, 10**15)] == [
        later[:5],
        later[70:75],
        later[139:],
        [],
    ]
    assert ids(timer.upcoming(duration=1, limit=5, skip=1)) == expected[1:3]


def test_offset_and_duration_bound_what_is_seen_and_counted(timer):
    for delay in (10, 100, 1000):
        timer.post(b"", delay, id=str(delay))
    timer.post(b"", eta=at(PAST_MS), id="past")
    cases = [
        ({}, ["past", "10", "100", "1000"]),
        ({"offset": 0}, ["10", "100", "1000"]),
        ({"offset": 50}, ["100", "1000"]),
        ({"offset": timedelta(seconds=50)}, ["100", "1000"]),
        ({"duration": 50}, ["past", "10"]),
        ({"offset": 50, "duration": 500}, ["100"]),
        ({"offset": 50, "duration": 20}, []),
        ({"offset": 5000}, []),
        ({"duration": timedelta(0)}, ["past"]),
    ]
    for bounds, expected in cases:
        assert ids(timer.upcoming(**bounds)) == expected, bounds
        assert timer.count(**bounds).pending == len(expected), bounds


def test_what_is_leased_or_parked_is_counted_and_not_upcoming(timer, store, claim):
    seed(store, event("a"), event("b", PAST_MS + 1), event("c", FUTURE_MS))
    leased, parked = claim()
    assert ids(timer.upcoming()) == ["c"]
    assert timer.count() == Counts(pending=1, leased=2, parked=0)
    store.ask(store.park("default", [parked], "why"))
    assert timer.count() == Counts(pending=1, leased=1, parked=1)
    assert timer.confirm(leased)
    assert timer.count() == Counts(pending=1, leased=0, parked=1)


def test_asking_changes_nothing(timer, store, claim, redis_client):
    seed(store, event("a"), event("b", FUTURE_MS, queue="other"))
    claim()
    before = snapshot(redis_client)
    timer.upcoming(payloads=True)
    timer.count()
    assert snapshot(redis_client) == before


def test_a_queue_is_seen_as_long_as_it_holds_anything(timer, store, claim):
    seed(store, event("a", queue="one"), event("b", FUTURE_MS, queue="one"))
    (delivery,) = claim("one")
    assert ids(timer.upcoming()) == ["b"]
    assert timer.confirm(delivery)
    assert ids(timer.upcoming()) == ["b"]
    claim("one", room=0)
    assert ids(timer.upcoming()) == ["b"]


def test_what_was_given_back_is_upcoming_and_counted(timer, store, claim):
    seed(store, event("x", queue="one", payload=b"back"), event("y", FUTURE_MS, queue="one"))
    (delivery,) = claim("one")
    assert timer.count() == Counts(pending=1, leased=1, parked=0)
    assert list(store.ask(store.release("one", [delivery], backoff_ms=3_600_000, counted=True))) == [1]
    assert [(row.id, row.queue, row.payload) for row in timer.upcoming(payloads=True)] == [
        ("x", "one", b"back"),
        ("y", "one", b"payload"),
    ]
    assert ids(timer.upcoming(offset=0, duration=7200)) == ["x"]
    assert timer.count() == Counts(pending=2, leased=0, parked=0)
    assert timer.count(duration=7200).pending == 1


def test_a_page_of_large_payloads_is_read_in_several_calls_of_bounded_bytes(timer, store, monkeypatch):
    size = 100_000
    timer.post_many(Post(bytes([i]) * size, eta=at(FUTURE_MS + i), id=f"{i:02}") for i in range(12))
    read, ask = [], store.ask_steps

    def reading(_, call):
        read.append((yield from ask(call)))
        return read[-1]

    monkeypatch.setattr(type(store), "ask_steps", reading)
    page = timer.upcoming(limit=10, payloads=True)
    assert [(row.id, row.payload[:1]) for row in page] == [(f"{i:02}", bytes([i])) for i in range(10)]
    assert max(sum(len(row[3]) for row in rows) for rows in read) < 256 * 1024 + size
