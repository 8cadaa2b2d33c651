"""Slots that move to another master, in each way that there is, while events are posted, fired and cancelled."""

import time
from collections import Counter

import pytest
from members import Call, Poster, blocks, ids_of, is_empty, wait_until_empty
from rig.cluster import slot_of
from rig.waiting import wait_until

from celery_dtimer import Counts, Post, State, TimerUnavailableError
from celery_dtimer.timer.times import ms_to_datetime

MOVED = 1  # the shard whose slot moves, and the next master in turn has it then
SLOT = slot_of(f"{{dt:{MOVED}}}")
HALF_WAY = 1.0  # seconds
PAST = ms_to_datetime(1_000_000_000_000)


def next_master(fleet):
    masters = fleet.masters()
    return masters[(masters.index(fleet.master_of(f"{{dt:{MOVED}}}")) + 1) % len(masters)]


def key_by_key(fleet, slot, to):
    fleet.migrate(slot, to)


def stopped_half_way(fleet, slot, to):
    """A resharding whose operator takes his time: some keys are here, the others there."""
    fleet.begin_migration(slot, to)
    fleet.move_key(f"{{dt:{MOVED}}}:events", to)
    time.sleep(HALF_WAY)
    fleet.move_keys(slot, to)
    fleet.end_migration(slot, to)


def at_once(fleet, slot, to):
    fleet.migrate_at_once(slot, to)


WAYS = [key_by_key, stopped_half_way, at_once]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def move(request, calm):
    """Moves the slot to the next master, and returns that."""

    def move():
        to = next_master(calm)
        request.param(calm, SLOT, to)
        return to

    return move


def test_what_is_posted_fired_and_cancelled_amid_migrations_is_neither_lost_nor_early_nor_run_twice(
    calm, make_timer, join, move
):
    timer = make_timer(calm.url)
    members = [join(calm.url, max_events=20) for _ in range(2)]
    # In all shards, and some of the moved one, whatever the others do.
    posters = [
        Poster(make_timer(calm.url), "any {}".format),
        Poster(make_timer(calm.url), ids_of(timer, MOVED, 5000, "moved ").__getitem__),
        Poster(make_timer(calm.url, wait_replicas=1, wait_timeout=4), ids_of(timer, MOVED, 5000, "safe ").__getitem__),
    ]
    spared = timer.post_many([Post(b"p", 600, id=f"spared {n}") for n in range(1000)])
    cancelled = []
    with posters[0], posters[1], posters[2]:
        for _ in range(3):
            begun = Call(move)
            while begun.is_alive():
                event_id = spared.pop()
                assert timer.cancel(event_id)
                cancelled.append(event_id)
                begun.join(0.01)
            begun.result()
    assert all(timer.cancel(event_id) for event_id in spared)
    wait_until_empty(timer)
    posted = [event_id for poster in posters for event_id in poster.posted]
    assert Counter(members[0].ids + members[1].ids) == Counter(posted)
    assert min(members[0].late_ms + members[1].late_ms) >= 0
    assert [poster.refusals for poster in posters] == [[], [], []]
    assert cancelled


def test_a_slot_that_moves_is_no_failure_to_be_reported(calm, make_timer, join, move, caplog):
    timer = make_timer(calm.url)
    member = join(calm.url)
    with Poster(make_timer(calm.url), ids_of(timer, MOVED, 5000).__getitem__) as poster:
        move()
    wait_until_empty(timer)
    assert sorted(member.ids) == sorted(poster.posted)
    assert member.errors == []
    assert "failed" not in caplog.text


def test_after_a_migration_wake_tokens_reach_the_listener_again(no_poll, calm, make_timer, join, move):
    timer = make_timer(calm.url)
    member = join(calm.url)
    ids = ids_of(timer, MOVED, 9)
    timer.post(b"p", 0, id=ids[0])
    wait_until(lambda: member.ids == ids[:1], "the first event")
    for number in range(2):
        move()
        # One posted at once, whose token lies there already, and one when the listener waits for it.
        for event_id in ids[4 * number + 1 : 4 * number + 3]:
            timer.post(b"p", 0, id=event_id)
            wait_until(lambda event_id=event_id: member.ids[-1] == event_id, "the event of the slot's new master")
        new = calm.master_of(f"{{dt:{MOVED}}}")
        wait_until(lambda new=new: blocks(new), "the wake thread to block there")
        for event_id in ids[4 * number + 3 : 4 * number + 5]:
            timer.post(b"p", 0.3, id=event_id)
            wait_until(lambda event_id=event_id: member.ids[-1] == event_id, "the event that was announced")
    wait_until_empty(timer)


def test_an_event_that_was_posted_before_the_migration_fires_after_it(no_poll, calm, make_timer, join, move):
    timer = make_timer(calm.url)
    member = join(calm.url)
    ids = ids_of(timer, MOVED, 20)
    timer.post_many([Post(b"p", 2 + n / 100, id=event_id) for n, event_id in enumerate(ids)])
    move()
    wait_until(lambda: member.ids == ids, "the events")
    assert min(member.late_ms) >= 0
    wait_until_empty(timer)


def test_a_delivery_is_confirmed_at_the_new_master(calm, make_timer, move):
    timer = make_timer(calm.url)
    [event_id] = ids_of(timer, MOVED, 1)
    timer.post(b"p", eta=PAST, id=event_id)
    store = timer.shards.of(event_id)
    call = store.claim(["default"], listener="l", holder="h", nonce="n", room=5, lease_ms=60_000)
    [delivery] = store.read_claim(store.ask(call), ["default"]).deliveries
    move()
    assert timer.renew(delivery)
    assert timer.confirm(delivery)
    assert is_empty(timer)


class TestHalfWay:
    """What happens while some of a shard's keys are on one master, and the others on another."""

    KEYS = (
        *("events", "taken", "due:default", "due:other", "leased", "lease:default", "deliveries"),
        *("parked", "parked_at", "parked_ids", "promise", "wake:default", "layout", None),
    )

    @pytest.fixture
    def timer(self, calm, make_timer):
        return make_timer(calm.url)

    @pytest.fixture
    def seeded(self, timer):
        """Ids of the moved shard: of a pending event, one of another queue, a parked and a leased one."""
        pending, other, parked, leased = ids_of(timer, MOVED, 4)
        store = timer.shards.of(pending)
        timer.post_many([Post(b"p", eta=PAST, id=parked), Post(b"p", eta=PAST, id=leased)])
        call = store.claim(["default"], listener="l", holder="h", nonce="n", room=5, lease_ms=600_000)
        deliveries = {d.id: d for d in store.read_claim(store.ask(call), ["default"]).deliveries}
        store.ask(store.park("default", [deliveries[parked]], "why"))
        timer.post(b"p", 600, id=pending)
        timer.post(b"p", 600, id=other, queue="other")
        return pending, other, parked, deliveries[leased]

    @pytest.mark.parametrize("first", KEYS)
    def test_nothing_is_answered_from_a_half_of_the_keys(self, calm, timer, make_timer, seeded, first):
        pending, other, parked, delivery = seeded
        [new] = ids_of(timer, MOVED, 1, "new")
        to = next_master(calm)
        calm.begin_migration(SLOT, to)
        if first is not None:
            calm.move_key(f"{{dt:{MOVED}}}:{first}", to)
        calls = {
            "peek": Call(make_timer(calm.url).peek, pending),
            "cancel": Call(make_timer(calm.url).cancel, other),
            "replay": Call(make_timer(calm.url).replay, parked, 600),
            "confirm": Call(make_timer(calm.url).confirm, delivery),
            "post": Call(make_timer(calm.url).post, b"p", 600),
            "post here": Call(lambda: make_timer(calm.url).post(b"p", 600, id=new)),
        }
        # They have met the open slot by then, each of them: no answer depends on it.
        time.sleep(0.3)
        calm.move_keys(SLOT, to)
        calm.end_migration(SLOT, to)
        answers = {name: call.result() for name, call in calls.items()}
        assert answers["peek"].state is State.PENDING
        assert answers["cancel"]
        assert answers["replay"] is True
        assert answers["confirm"] is True
        assert answers["post here"] == new
        assert timer.count() == Counts(4, 0, 0)
        assert all(timer.cancel(event_id) for event_id in (pending, parked, new, answers["post"]))
        assert is_empty(timer)

    def test_the_other_shards_go_on(self, calm, timer, join):
        member = join(calm.url)
        others = [event_id for shard in (0, 2) for event_id in ids_of(timer, shard, 20)]
        [here] = ids_of(timer, MOVED, 1)
        due = time.monotonic() + 2
        timer.post(b"p", 2, id=here)
        to = next_master(calm)
        calm.begin_migration(SLOT, to)
        calm.move_key(f"{{dt:{MOVED}}}:events", to)
        try:
            for event_id in others:
                timer.post(b"p", 0.01, id=event_id)
            wait_until(lambda: set(others) <= set(member.ids), "the events of the other shards")
            wait_until(lambda: time.monotonic() > due + 0.3, "the event of the shard that is on its way to be due")
            assert here not in member.ids
        finally:
            calm.move_keys(SLOT, to)
            calm.end_migration(SLOT, to)
        wait_until(lambda: here in member.ids, "the event of the shard that moved")
        wait_until_empty(timer)

    def test_a_slot_that_stays_half_way_makes_its_shard_unavailable_and_leaves_nothing_half_done(self, calm, timer):
        [there, new] = ids_of(timer, MOVED, 2)
        timer.post(b"p", 600, id=there)
        to = next_master(calm)
        calm.begin_migration(SLOT, to)
        calm.move_key(f"{{dt:{MOVED}}}:due:default", to)
        try:
            with pytest.raises(TimerUnavailableError) as caught:
                timer.post(b"p", 600, id=new)
            assert caught.value.event_ids == (new,)
        finally:
            calm.move_keys(SLOT, to)
            calm.end_migration(SLOT, to)
        assert timer.peek(new) is None
        assert timer.count() == Counts(1, 0, 0)
        assert timer.post(b"p", 600, id=new) == new
        assert timer.cancel(new)
        assert timer.cancel(there)

    def test_an_empty_slot_that_is_open_takes_posts_when_it_has_moved(self, calm, timer):
        [event_id] = ids_of(timer, MOVED, 1)
        to = next_master(calm)
        calm.begin_migration(SLOT, to)
        call = Call(lambda: timer.post(b"p", 600, id=event_id))
        call.join(0.3)
        calm.end_migration(SLOT, to)
        assert call.result() == event_id
        assert timer.cancel(event_id)
