"""Every operation on events that are spread over shards, on one server and on a cluster of three masters."""

import subprocess
import sys
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from members import Member, ids_of, keep, shard_of, wait_until_empty
from rig.waiting import wait_until

from celery_dtimer import Answer, Counts, Post, PostManyError, State
from celery_dtimer.timer.times import ms_to_datetime

SHARDS = 4
PAST, FUTURE = ms_to_datetime(1_000_000_000_000), ms_to_datetime(4_000_000_000_000)  # 2001 and 2096


@pytest.fixture
def timer(place, make_timer):
    """A timer of four shards that has not joined; what waits in it is cancelled after the test."""
    timer = make_timer(place.url, shards=SHARDS)
    yield timer
    for event in timer.upcoming(limit=10_000):
        timer.cancel(event.id)


@pytest.fixture
def claim(timer):
    """Claims what is due, in all shards, as a listener would."""

    def claim(room=100, lease_ms=60_000):
        deliveries = []
        for number, store in enumerate(timer.shards):
            options = {"listener": "listener", "holder": "holder", "nonce": f"nonce{number}"}
            call = store.claim(["default"], **options, room=room, lease_ms=lease_ms)
            deliveries += store.read_claim(store.ask(call), ["default"]).deliveries
        return deliveries

    return claim


@pytest.fixture
def one_each(timer):
    """An id of each shard."""
    return [ids_of(timer, shard, 1)[0] for shard in range(SHARDS)]


def park(timer, delivery):
    store = timer.shards.of(delivery.id)
    assert list(store.ask(store.park(delivery.queue, [delivery], "why"))) == [1]


def ids(page):
    return [row.id for row in page]


# --- which shard


def test_each_shard_gets_a_fair_part_of_the_ids(make_timer):
    timer = make_timer("redis://localhost", shards=SHARDS)
    by_kind = [[timer._new_event(Post(b"", 0)).id for _ in range(4000)], [str(n) for n in range(4000)]]
    for kind in by_kind:
        counts = Counter(shard_of(timer, event_id) for event_id in kind)
        assert sorted(counts) == list(range(SHARDS))
        # Of a fair draw, a shard gets 1000 with a deviation of 27.
        assert min(counts.values()) > 850


def test_an_id_has_the_same_shard_in_every_process(make_timer):
    timer = make_timer("redis://localhost", shards=SHARDS)
    code = (
        "from celery_dtimer import DTimer; timer = DTimer('redis://localhost', shards=4);"
        "print([timer.shards.of(str(n)).keys.shard for n in range(50)])"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert seen == str([shard_of(timer, str(n)) for n in range(50)])


def test_an_event_is_stored_in_the_shard_of_its_id_alone(timer, place, one_each):
    for shard, event_id in enumerate(one_each):
        timer.post(b"p", 60, id=event_id)
        names = [key.decode() for key in place.dump()]
        assert [f"{{dt:{n}}}:events" in names for n in range(SHARDS)] == [n <= shard for n in range(SHARDS)]
    assert [store.keys.shard for store in timer.shards] == list(range(SHARDS))


# --- posting


def test_many_posts_are_stored_and_their_ids_come_in_their_order(timer):
    posts = [Post(f"{i}", 60, id=str(i), queue=f"q{i % 3}") for i in range(1500)]
    assert timer.post_many(posts) == [post.id for post in posts]
    assert timer.count() == Counts(1500, 0, 0)
    rows = timer.upcoming(limit=2000, payloads=True)
    assert {row.id: (row.queue, row.payload.decode()) for row in rows} == {
        post.id: (post.queue, post.payload) for post in posts
    }


def test_of_many_posts_those_are_named_that_were_refused(timer):
    refused = [str(n) for n in range(0, 40, 3)]
    timer.post_many([Post(b"old", 60, id=event_id) for event_id in refused])
    with pytest.raises(PostManyError) as caught:
        timer.post_many([Post(b"new", 60, id=str(n), queue=f"q{n % 2}") for n in range(40)])
    assert sorted(caught.value.refused) == sorted(refused)
    assert sorted(caught.value.stored) == sorted({str(n) for n in range(40)} - set(refused))
    assert caught.value.unknown == ()
    assert timer.count().pending == 40
    assert all(timer.peek(event_id).payload == b"old" for event_id in refused)


def test_an_id_twice_among_many_posts_is_stored_once(timer, one_each):
    with pytest.raises(PostManyError) as caught:
        timer.post_many([Post(b"p", 60, id=event_id) for event_id in one_each * 2])
    assert sorted(caught.value.stored) == sorted(caught.value.refused) == sorted(one_each)
    assert timer.count().pending == SHARDS


@pytest.mark.parametrize("conflict", ["keep", "replace", "postpone"])
def test_what_a_conflict_means_is_the_same_in_each_shard(timer, one_each, conflict):
    for event_id in one_each:
        timer.post(b"old", eta=FUTURE, id=event_id)
        timer.post(b"new", eta=PAST, id=event_id, on_conflict=conflict)
        info = timer.peek(event_id)
        assert (info.payload, info.due_at) == {
            "keep": (b"old", FUTURE),
            "replace": (b"new", PAST),
            "postpone": (b"old", PAST),
        }[conflict]


# --- asking


def expected(posts):
    return [post.id for post in sorted(posts, key=lambda post: (post.eta, post.queue, post.id))]


def test_pages_over_all_shards_join_without_a_gap_or_an_overlap(timer):
    # Some of one instant in several queues, and many of one instant in one of them.
    ms = timedelta(milliseconds=1)
    posts = [Post(b"", eta=FUTURE + i // 3 * ms, id=f"{i:03}", queue=f"q{i % 4}") for i in range(100)]
    posts += [Post(b"", eta=FUTURE + 20 * ms, id=f"{i:03}", queue="q2") for i in range(100, 140)]
    posts += [Post(b"", eta=PAST, id=f"{i:03}", queue="q1") for i in range(140, 143)]
    timer.post_many(posts)
    for limit in (1, 7, 50):
        pages = [timer.upcoming(limit=limit, skip=skip) for skip in range(0, len(posts) + 2 * limit, limit)]
        assert [event_id for page in pages for event_id in ids(page)] == expected(posts)
        assert max(map(len, pages)) == limit
        assert pages[-1] == []
    later = expected(posts)[3:]
    assert [ids(timer.upcoming(offset=1, limit=5, skip=skip)) for skip in (0, 70, 139, 10**15)] == [
        later[:5],
        later[70:75],
        later[139:],
        [],
    ]
    assert ids(timer.upcoming(duration=1, limit=5, skip=1)) == expected(posts)[1:3]


def test_pages_of_many_events_of_one_instant_join_too(timer):
    posts = [Post(b"", eta=FUTURE, id=f"{i:04}", queue=f"q{i % 2}") for i in range(600)]
    timer.post_many(posts)
    pages = [timer.upcoming(limit=97, skip=skip) for skip in range(0, 600, 97)]
    assert [event_id for page in pages for event_id in ids(page)] == expected(posts)


def test_a_page_far_on_is_the_same_as_one_that_was_reached_in_steps(timer):
    # Unevenly dealt out, and some tied: a shard may be left out entirely, or not at all.
    ids = ids_of(timer, 0, 1500) + ids_of(timer, 1, 500, "b") + ids_of(timer, 2, 1000, "c")
    timer.post_many(
        [Post(b"", eta=FUTURE + timedelta(seconds=n % 1000), id=event_id) for n, event_id in enumerate(ids)]
    )
    rows = timer.upcoming(limit=3000)
    assert len(rows) == 3000
    for skip in (999, 1001, 1500, 2400, 2990, 3000, 4000):
        assert timer.upcoming(limit=20, skip=skip) == rows[skip : skip + 20], skip
    late = timer.upcoming(offset=1, duration=10**10, limit=20, skip=2000)
    assert late == rows[2000:2020]


def test_offset_and_duration_bound_what_is_seen_and_counted_in_all_shards(timer, one_each):
    first, second, third, past = one_each
    for delay, event_id in ((10, first), (100, second), (1000, third)):
        timer.post(b"", delay, id=event_id)
    timer.post(b"", eta=PAST, id=past)
    for bounds, seen in [
        ({}, [past, first, second, third]),
        ({"offset": 0}, [first, second, third]),
        ({"offset": timedelta(seconds=50)}, [second, third]),
        ({"duration": 50}, [past, first]),
        ({"offset": 50, "duration": 500}, [second]),
        ({"offset": 50, "duration": 20}, []),
        ({"duration": 0}, [past]),
    ]:
        assert ids(timer.upcoming(**bounds)) == seen, bounds
        assert timer.count(**bounds).pending == len(seen), bounds


def test_payloads_come_only_when_they_are_asked_for(timer, one_each):
    timer.post_many([Post(event_id, 60, id=event_id) for event_id in one_each])
    assert {row.payload for row in timer.upcoming(payloads=True)} == {event_id.encode() for event_id in one_each}
    assert {row.payload for row in timer.upcoming()} == {None}


def test_counts_are_those_of_all_shards(timer, claim, one_each):
    assert timer.count() == Counts(0, 0, 0)
    timer.post_many([Post(b"", 0, id=event_id) for event_id in one_each])
    timer.post_many([Post(b"", 60, id=f"later {n}") for n in range(20)])
    deliveries = wait_until(lambda: len(found := claim()) and found, "the events to be due")
    assert timer.count() == Counts(pending=20, leased=SHARDS, parked=0)
    park(timer, deliveries[0])
    park(timer, deliveries[1])
    assert timer.count() == Counts(pending=20, leased=2, parked=2)
    assert all(timer.cancel(delivery.id) for delivery in deliveries[:2])
    assert all(timer.confirm(delivery) for delivery in deliveries[2:])
    assert timer.count() == Counts(pending=20, leased=0, parked=0)


# --- changing


def test_each_event_is_found_moved_and_cancelled_where_it_is(timer, one_each):
    timer.post_many([Post(event_id, 600, id=event_id) for event_id in one_each])
    eta = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    for event_id in one_each:
        assert timer.peek(event_id).payload == event_id.encode()
        assert timer.change_delay(event_id, 60)
        assert timer.peek(event_id).due_at < eta
        assert timer.change_eta(event_id, eta)
        assert timer.peek(event_id).due_at == eta
        assert timer.cancel(event_id)
        assert timer.cancel(event_id) == Answer()
        assert timer.peek(event_id) is None
        assert not timer.change_delay(event_id, 60)
        assert not timer.replay(event_id)


def test_what_is_parked_is_replayed_in_its_shard(timer, claim, one_each):
    timer.post_many([Post(b"", eta=PAST, id=event_id) for event_id in one_each])
    deliveries = claim()
    assert len(deliveries) == SHARDS
    for delivery in deliveries:
        park(timer, delivery)
        assert timer.peek(delivery.id).state is State.PARKED
        assert timer.replay(delivery.id, 600)
        assert timer.peek(delivery.id).state is State.PENDING
    assert timer.count() == Counts(SHARDS, 0, 0)


def test_a_delivery_is_settled_in_its_shard_and_only_once(timer, claim, one_each):
    for settle in (timer.confirm, timer.release):
        timer.post_many([Post(b"", eta=PAST, id=event_id) for event_id in one_each])
        deliveries = claim()
        assert sorted(delivery.id for delivery in deliveries) == sorted(one_each)
        assert all(timer.renew(delivery) for delivery in deliveries)
        assert all(timer.cancel(delivery.id).state is State.LEASED for delivery in deliveries)
        assert all(settle(delivery) for delivery in deliveries)
        assert not any(settle(delivery) or timer.renew(delivery) for delivery in deliveries)
    assert all(timer.cancel(event_id) for event_id in one_each)


# --- listening


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("dtimer")]


def test_one_listener_has_one_loop_and_one_wake_thread_for_all_shards(place, join):
    assert threads() == []
    member = join(place.url, shards=SHARDS)
    wait_until(lambda: len(threads()) == 2, "its threads")
    member.timer.leave()
    assert threads() == []


def test_each_event_fires_once_by_one_of_two_listeners_and_none_early(place, timer, join):
    members = [join(place.url, shards=SHARDS) for _ in range(2)]
    posted = timer.post_many([Post(b"p", n / 300, id=str(n)) for n in range(600)])
    wait_until(lambda: sum(len(member.ids) for member in members) >= 600, "all events")
    wait_until_empty(timer)
    assert Counter(members[0].ids + members[1].ids) == Counter(posted)
    assert min(members[0].late_ms + members[1].late_ms) >= 0
    assert members[0].errors == members[1].errors == []


def test_a_wake_token_of_every_shard_reaches_the_listener(no_poll, place, timer, join, one_each):
    member = join(place.url, shards=SHARDS)
    timer.post(b"p", 0, id="first")
    wait_until(lambda: member.ids == ["first"], "the first event")
    for round_ in range(3):
        for event_id in one_each:
            timer.post(b"p", 0.05 * round_, id=event_id)
            wait_until(lambda event_id=event_id: member.ids[-1] == event_id, "the event that was announced")
            wait_until(lambda event_id=event_id: timer.peek(event_id) is None, "its confirm")


def test_a_promise_of_every_shard_is_kept(no_poll, place, timer, join, one_each):
    member = join(place.url, shards=SHARDS)
    timer.post_many([Post(b"p", 1 + n / 10, id=event_id) for n, event_id in enumerate(reversed(one_each))])
    wait_until(lambda: member.ids == one_each[::-1], "the events in their order")
    assert min(member.late_ms) >= 0


def test_what_a_listener_leaves_behind_in_each_shard_another_takes(no_poll, place, timer, join, one_each):
    first = join(place.url, shards=SHARDS, act=keep)
    timer.post(b"p", 0, id="first")
    wait_until(lambda: first.ids == ["first"], "the promises to be the first listener's")
    timer.post_many([Post(b"p", 1.5, id=event_id) for event_id in one_each])
    second = join(place.url, shards=SHARDS)
    assert first.timer.confirm(first.deliveries[0])
    first.timer.leave()
    wait_until(lambda: sorted(second.ids) == sorted(one_each), "the events")


def test_a_listener_holds_no_more_than_max_events_of_all_shards_together(place, timer, join):
    timer.post_many([Post(b"p", eta=PAST, id=str(n)) for n in range(24)])
    member = join(place.url, shards=SHARDS, max_events=3, confirm_timeout=60, act=keep)
    most = 0
    for number in range(24):
        wait_until(lambda number=number: len(member.deliveries) > number, f"event {number}")
        most = max(most, timer.count().leased, len(member.deliveries) - number)
        assert member.timer.confirm(member.deliveries[number])
    assert most <= 3
    assert len(set(member.ids)) == 24


def test_a_flood_in_one_shard_leaves_room_for_the_others(place, timer, join):
    flood = ids_of(timer, 0, 100, "flood")
    others = [event_id for shard in (1, 2, 3) for event_id in ids_of(timer, shard, 1, "other")]
    timer.post_many([Post(b"p", eta=PAST, id=event_id) for event_id in flood])
    timer.post_many([Post(b"p", eta=PAST + timedelta(seconds=1), id=event_id) for event_id in others])
    member = join(place.url, shards=SHARDS, max_events=4)
    wait_until(lambda: len(member.ids) == 103, "all events")
    assert max(member.ids.index(event_id) for event_id in others) < 50


def test_a_listener_that_leaves_amid_a_batch_gives_the_rest_back_uncounted(place, timer, join):
    def leave(delivery):
        member.timer.confirm(delivery)
        member.timer.leave()

    posted = timer.post_many([Post(b"p", eta=PAST, id=str(n)) for n in range(12)])
    member = Member(place.url, shards=SHARDS, act=leave)
    wait_until(lambda: timer.count() == Counts(11, 0, 0) and threads() == [], "the rest to be given back")
    member.timer.close()
    left = [timer.peek(event_id) for event_id in posted if event_id not in member.ids]
    assert [info.redeliveries for info in left] == [0] * 11
    assert {info.state for info in left} == {State.PENDING}


def test_a_lapsed_lease_of_any_shard_is_redelivered(place, timer, join, one_each):
    first = join(place.url, shards=SHARDS, confirm_timeout=0.3, act=keep)
    timer.post_many([Post(b"p", 0, id=event_id) for event_id in one_each])
    wait_until(lambda: sorted(set(first.ids)) == sorted(one_each), "the first deliveries")
    first.timer.leave()
    second = join(place.url, shards=SHARDS)
    wait_until(lambda: sorted(second.ids) == sorted(one_each), "the redeliveries")
    assert {delivery.redeliveries for delivery in second.deliveries} >= {1}
    wait_until_empty(timer)


def test_namespaces_of_many_shards_know_nothing_of_each_other(place, timer, make_timer):
    other = make_timer(place.url, namespace="other", shards=SHARDS)
    timer.post(b"p", 60, id="x")
    assert other.peek("x") is None
    assert other.count() == Counts(0, 0, 0)
    assert other.post(b"q", 60, id="x") == "x"
    assert timer.peek("x").payload == b"p"
    assert other.cancel("x")


def test_a_timer_can_be_used_by_many_threads(timer):
    threads = [
        threading.Thread(target=timer.post_many, args=([Post(b"p", 60, id=f"{n}-{i}") for i in range(50)],))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert timer.count().pending == 400
    assert len(timer.upcoming(limit=1000)) == 400
