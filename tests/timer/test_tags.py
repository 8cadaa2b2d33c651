"""Tags: an event is found by them from its post to its end, and many are changed by them."""

import pytest
from rig.keyspace import contents, snapshot
from seeds import FUTURE_MS, PAST_MS, at, event

from celery_dtimer.errors import ChangeManyError, InvalidEventError, TimerUnavailableError
from celery_dtimer.timer.dtimer import DTimer
from celery_dtimer.timer.events import State, Verdict
from celery_dtimer.timer.posts import Post
from celery_dtimer.timer.storing.selecting import MOST_IDS


def ids(found):
    return [each.id for each in found]


def index(client):
    """What is in the index, as (tag, id)."""
    members = client.zrange("{dt:0}:tags", 0, -1)
    return {tuple(part.decode() for part in member.split(b"\xff")) for member in members}


def decided(store, delivery, action, delay_ms=0):
    return store.ask(store.verdicts(delivery.queue, [Verdict(delivery, action, delay_ms, "why")]))[0]


def test_tags_are_shown_wherever_the_event_is_and_leave_nothing(timer, store, claim, redis_client):
    timer.post("p", 0, id="x", tags=["order:42", "eu"])
    assert timer.peek("x").tags == ("order:42", "eu")
    assert [each.tags for each in timer.upcoming(payloads=True)] == [("order:42", "eu")]
    assert [each.tags for each in timer.upcoming(tag="eu")] == [("order:42", "eu")]
    assert timer.change_delay("x", 0)
    (delivery,) = claim(ahead_ms=1000)
    assert delivery.tags == timer.peek("x").tags == ("order:42", "eu")
    assert decided(store, delivery, "release")
    assert timer.change_eta("x", at(PAST_MS))
    (again,) = claim(ahead_ms=1000)
    assert (again.tags, again.redeliveries) == (("order:42", "eu"), 1)
    assert decided(store, again, "park")
    assert [each.tags for each in timer.parked(tag="eu")] == [("order:42", "eu")]
    assert [each.tags for each in timer.parked()] == [("order:42", "eu")]
    assert timer.replay("x")
    (last,) = claim(ahead_ms=1000)
    assert last.tags == ("order:42", "eu")
    assert index(redis_client) == {("order:42", "x"), ("eu", "x")}
    assert decided(store, last, "confirm")
    assert snapshot(redis_client) == {}


def test_an_event_without_tags_writes_nothing_of_them(timer, claim, store, redis_client):
    timer.post("p", 0, id="x", tags=[])
    assert contents(redis_client)["events"] == {"x": [20, "default", b"p"]}
    (delivery,) = claim(ahead_ms=1000)
    assert delivery.tags == ()
    assert len(contents(redis_client)["leased"][next(iter(contents(redis_client)["leased"]))]) == 6
    assert decided(store, delivery, "confirm")


def test_an_event_that_is_delivered_once_leaves_no_tags(timer, claim, redis_client):
    timer.post("p", 0, id="x", tags=["a"], max_redeliveries=0)
    assert claim(ahead_ms=1000)[0].tags == ("a",)
    assert snapshot(redis_client) == {}


def test_a_new_post_has_its_own_tags_and_a_postponed_one_keeps_them(timer, redis_client):
    timer.post("p", 60, id="x", tags=["a", "b"])
    timer.post("p", 70, id="x", tags=["b", "c"], on_conflict="replace")
    assert index(redis_client) == {("b", "x"), ("c", "x")}
    timer.post("p", 80, id="x", tags=["d"], on_conflict="postpone")
    timer.post("p", 80, id="x", tags=["d"], on_conflict="keep")
    assert timer.peek("x").tags == ("b", "c")
    assert index(redis_client) == {("b", "x"), ("c", "x")}
    assert timer.cancel("x")
    assert index(redis_client) == set()


def test_a_tag_stays_as_long_as_anything_of_the_id_has_it(timer, store, claim, redis_client):
    timer.post("first", 0, id="x", tags=["a", "b"])
    (delivery,) = claim(ahead_ms=1000)
    timer.post("second", 60, id="x", tags=["b", "c"])
    assert decided(store, delivery, "confirm")
    assert index(redis_client) == {("b", "x"), ("c", "x")}


def test_many_are_found_by_a_tag_among_others_soonest_first(timer):
    timer.post_many([Post("p", 60 + i, id=f"a{i:03}", tags=["a"]) for i in range(MOST_IDS + 50)])
    timer.post_many([Post("p", 60, id=f"b{i}", tags=["ab", "b"]) for i in range(5)])
    assert ids(timer.upcoming(tag="a", limit=3)) == ["a000", "a001", "a002"]
    assert ids(timer.upcoming(tag="a", limit=3, skip=MOST_IDS)) == ["a200", "a201", "a202"]
    assert len(timer.upcoming(tag="a", limit=1000)) == MOST_IDS + 50
    assert len(timer.upcoming(tag="a", duration=64.5)) == 5
    assert ids(timer.upcoming(tag="b", queue="other")) == []
    assert timer.upcoming(tag="unknown") == []


def test_cancel_many_by_tag_ends_what_waits_and_what_is_parked(timer, store, claim):
    timer.post("p", 0, id="leased", tags=["a"], queue="one")
    timer.post("p", 0, id="parked", tags=["a"], queue="two")
    timer.post("p", 60, id="waits", tags=["a", "b"])
    timer.post("p", 60, id="other", tags=["b"])
    claim("one", ahead_ms=1000)
    decided(store, claim("two", ahead_ms=1000)[0], "park")
    planned = {each.id: bool(each) for each in timer.cancel_many(tag="a", dry_run=True)}
    assert planned == {"leased": False, "parked": True, "waits": True}
    assert timer.count().pending == 2
    answers = timer.cancel_many(tag="a")
    assert {each.id: bool(each) for each in answers} == planned
    assert {each.state for each in answers} == {State.LEASED, State.PARKED, State.PENDING}
    assert ids(timer.upcoming()) == ["other"]


def test_change_many_by_tag_moves_only_what_is_due_then(timer):
    for name, due_ms in (("x", FUTURE_MS), ("y", FUTURE_MS), ("z", FUTURE_MS + 5)):
        timer.post("p", eta=at(due_ms), id=name, tags=["a"])
    moved = timer.change_many(eta=at(FUTURE_MS + 9), tag="a", if_due_at=at(FUTURE_MS))
    assert ids(moved) == ["x", "y"]
    assert all(moved)
    assert [each.due_at for each in timer.upcoming(tag="a")] == [at(FUTURE_MS + 5)] + [at(FUTURE_MS + 9)] * 2
    assert [bool(each) for each in timer.change_many(["x", "z"], 5, if_due_at=at(FUTURE_MS + 5))] == [False, True]


@pytest.mark.parametrize("held", [False, True])
def test_many_are_found_cancelled_and_moved_by_kind(timer, claim, held):
    posts = [Post("p", eta=at(PAST_MS + i), id=f"{i:04}", kind="ab"[i % 2], queue="qr"[i % 3 % 2]) for i in range(1200)]
    timer.post_many(posts)
    if held:
        timer.hold(kind="a")
        assert {int(each.id) % 2 for each in claim("q", "r", room=20)} == {1}
    assert ids(timer.upcoming(kind="a", limit=3, skip=1)) == ["0002", "0004", "0006"]
    assert len(timer.upcoming(kind="a", limit=1000)) == 600
    # What is moved behind the place that is looked at is not moved again.
    moved = timer.change_many(eta=at(FUTURE_MS), kind="a")
    assert (len(moved), all(moved)) == (600, True)
    assert len(timer.cancel_many(kind="a", dry_run=True)) == 600
    assert all(timer.cancel_many(kind="a"))
    assert timer.upcoming(kind="a") == []
    assert len(timer.upcoming(kind="b", limit=1000)) == 580 if held else 600
    timer.resume(kind="a")


def test_replay_and_drop_by_tag_leave_the_others_parked(timer, store, claim):
    timer.post_many([Post("p", 0, id=f"{tag}{i}", tags=[tag], kind="k") for tag in "ab" for i in range(3)])
    for delivery in claim(ahead_ms=1000):
        decided(store, delivery, "park")
    assert timer.replay_many(tag="a", dry_run=True).done == 3
    assert timer.replay_many(tag="a", kind="other").done == 0
    assert timer.replay_many(tag="a", reason="why", delay=60).done == 3
    assert sorted(ids(timer.upcoming(tag="a"))) == ["a0", "a1", "a2"]
    first, second, third = timer.parked(tag="b")
    assert ids(timer.parked(tag="b", after=first.cursor)) == [second.id, third.id]
    assert timer.drop_many(tag="b").done == 3
    assert timer.count().parked == 0


def test_what_an_older_worker_has_ended_is_forgotten_when_somebody_comes_past(timer, redis_client):
    redis_client.zadd("{dt:0}:tags", {b"a\xffgone": 0, b"a\xffalso": 0})
    timer.post("p", 60, id="gone", tags=["b"])
    assert timer.upcoming(tag="a") == []
    assert index(redis_client) == {("b", "gone")}
    redis_client.zadd("{dt:0}:tags", {b"a\xffgone": 0})
    for i in range(100):
        timer.post("p", 60, id=f"x{i}", tags=["c"])
        if ("a", "gone") not in index(redis_client):
            break
    timer.cancel_many(tag="c")
    timer.cancel("gone")


def test_a_record_whose_tags_are_damaged_stops_nothing(timer, store, claim, redis_client):
    # [20, "default", "p", 0, "", "", []]: tags of another type
    store.post([event("x", PAST_MS, payload=b"p")])
    redis_client.hset("{dt:0}:events", "x", b"\x97\x14\xa7default\xa1p\x00\xa0\xa0\x90")
    assert timer.peek("x").tags == ()
    (delivery,) = claim(ahead_ms=1000)
    assert decided(store, delivery, "confirm") == 1


@pytest.mark.parametrize(
    "tags",
    [
        "order:42",
        ["a" * 129],
        ["ä" * 65],
        [""],
        ["a\nb"],
        ["a\x7f"],
        ["\x85"],
        [5],
        [b"a"],
        list("abcdefghi"),
        {"a": 1},
        5,
    ],
)
def test_wrong_tags_are_refused_with_their_limits(timer, redis_client, tags):
    with pytest.raises(InvalidEventError, match=r"^tags? must be .*(at most 8 tags|1 to 128 bytes)"):
        timer.post("p", 0, tags=tags)
    assert snapshot(redis_client) == {}


def test_ids_and_a_tag_together_are_refused(timer):
    for given in ({}, {"ids": ["x"], "tag": "a"}, {"ids": ["x"], "kind": "k"}):
        with pytest.raises(InvalidEventError, match="ids must be given, or a tag"):
            timer.cancel_many(**given)


def test_a_bulk_change_that_redis_leaves_says_what_was_done(start_redis):
    server = start_redis()
    with DTimer(server.url) as timer:
        timer.post_many([Post("p", 60, id=f"{i:04}", tags=["a"]) for i in range(450)])
        store = timer.shards[0]
        ask_each, batches = store.ask_each, []

        def failing(calls, replies):
            batches.append(list(calls))
            if len(batches) == 3:
                server.kill()
            ask_each(calls, replies)

        store.ask_each = failing
        with pytest.raises(
            ChangeManyError, match="200 events were changed, 0 could not be, and 100 may or may not"
        ) as it:
            timer.cancel_many(tag="a")
        assert "the rest of tag 'a' is as it was" in str(it.value)
        assert len(it.value.answers) == 200
        assert list(it.value.unknown) == batches[2]
        with pytest.raises(TimerUnavailableError, match="0 events were pending again before"):
            timer.replay_many(tag="a")
