"""A namespace has one number of shards from its first use on: another one would look for events where they are not."""

import contextlib
import json
import threading

import pytest
from rig.outsider import Outsider
from rig.waiting import wait_until

from celery_dtimer import DTimer, Post, SettingsError

OPERATIONS = {
    "post": lambda timer: timer.post(b"p", 60, id="y"),
    "post many": lambda timer: timer.post_many([Post(b"p", 60, id=str(n)) for n in range(20)]),
    "peek": lambda timer: timer.peek("x"),
    "cancel": lambda timer: timer.cancel("x"),
    "change": lambda timer: timer.change_delay("x", 1),
    "upcoming": lambda timer: timer.upcoming(),
    "count": lambda timer: timer.count(),
    "replay": lambda timer: timer.replay("x"),
    "join": lambda timer: timer.join(),
}


@pytest.fixture
def first(place, make_timer):
    """Makes the timer that uses the namespace first, with one event in it."""
    timers = []

    def first(shards):
        timer = make_timer(place.url, shards=shards)
        timers.append(timer)
        timer.post(b"p", 600, id="x")
        return timer

    yield first
    for timer in timers:
        # One of a single shard may have been followed by more.
        with contextlib.suppress(SettingsError):
            timer.cancel("x")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (4, 8)])
def test_another_number_is_refused_by_every_operation_and_changes_nothing(
    place, make_timer, first, before, after, operation
):
    first(before)
    stored = place.dump()
    for _ in range(2):
        # Not only by the first one.
        other = make_timer(place.url, shards=after)
        other.on_event(other.confirm)
        for _ in range(2):
            with pytest.raises(SettingsError, match="^shards is") as caught:
                OPERATIONS[operation](other)
            assert caught.value.setting == "shards"
            assert str(before) in str(caught.value)
            assert str(after) in str(caught.value)
    assert place.dump() == stored


@pytest.mark.parametrize("shards", [1, 4])
def test_the_same_number_is_welcome(place, make_timer, first, shards):
    first(shards)
    other = make_timer(place.url, shards=shards)
    assert other.peek("x") is not None
    assert other.post(b"p", 60, id="y") == "y"
    assert other.cancel("y")


@pytest.mark.parametrize("after", [1, 8])
def test_a_namespace_of_many_shards_keeps_their_number_when_it_is_empty_again(place, make_timer, first, after):
    assert first(4).cancel("x")
    with pytest.raises(SettingsError, match="^shards is"):
        make_timer(place.url, shards=after).post(b"p", 60)


def test_a_namespace_of_one_shard_keeps_that_too(place, make_timer, first):
    assert first(1).cancel("x")
    with pytest.raises(SettingsError, match="first used with 1"):
        make_timer(place.url, shards=4).post(b"p", 60)


def test_each_namespace_has_a_number_of_its_own(place, make_timer, first):
    first(4)
    other = make_timer(place.url, namespace="other", shards=2)
    assert other.post(b"p", 60, id="x") == "x"
    assert other.cancel("x")


@pytest.mark.parametrize("numbers", [(2, 4), (3, 5)])
def test_of_several_that_come_first_at_once_one_number_wins(place, make_timer, numbers):
    timers = [make_timer(place.url, shards=number) for number in numbers * 4]
    barrier = threading.Barrier(len(timers))
    won, lost = [], []

    def post(number, timer):
        barrier.wait()
        try:
            timer.post(b"p", 60, id=str(number))
        except SettingsError:
            lost.append(timer)
        else:
            won.append((timer, str(number)))

    threads = [threading.Thread(target=post, args=pair) for pair in enumerate(timers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == len(lost) == len(timers) // 2
    assert len({len(timer.shards) for timer, _ in won}) == 1
    assert all(timer.cancel(event_id) for timer, event_id in won)


@pytest.mark.parametrize("shards", [0, -1, 1.5, "4", True, None])
def test_a_number_that_is_none_is_refused_at_once(shards):
    with pytest.raises(ValueError, match="shards"):
        DTimer("redis://localhost", shards=shards)


def test_a_client_that_listens_already_meets_no_change(place, make_timer, join):
    # It was there first, and has used the namespace by listening.
    member = join(place.url, shards=4)
    member.timer.post(b"p", 0, id="x")
    wait_until(lambda: member.ids == ["x"] and member.timer.peek("x") is None, "the event and its confirm")
    with pytest.raises(SettingsError, match="^shards is"):
        make_timer(place.url, shards=2).post(b"p", 0)
    assert member.errors == []


def test_a_listener_that_joined_while_redis_was_away_says_so_when_it_is_back_and_claims_nothing(
    start_redis, make_timer, join
):
    server = start_redis(options={"appendonly": "yes", "appendfsync": "always"})
    make_timer(server.url, shards=4).post(b"p", 0, id="x")
    server.stop()
    member = join(server.url, shards=2)
    wait_until(lambda: member.errors, "the error of the outage")
    server.start()
    wait_until(lambda: isinstance(member.errors[-1], SettingsError), "the error of the setting")
    assert len(member.errors) == 2
    assert member.ids == []
    assert make_timer(server.url, shards=4).count().pending == 1


class TestWorker:
    @pytest.fixture
    def timer_url(self, place):
        return place.url

    @pytest.fixture
    def make_timer(self):
        """Timers on the tasks of an app: see `Outsider`."""
        with contextlib.ExitStack() as timers:
            yield lambda url, **options: timers.enter_context(Outsider(url, **options))

    @pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (4, 8)])
    def test_a_worker_with_another_number_does_not_start_and_says_why(self, place, start_worker, first, before, after):
        first(before)
        stored = place.dump()
        with pytest.raises(AssertionError, match="dtimer_shards"):
            start_worker(env={"BROKER_SETTINGS": json.dumps({"dtimer_shards": after})})
        assert place.dump() == stored

    def test_a_task_posted_with_another_number_is_refused(self, place, proj, first):
        first(4)
        stored = place.dump()
        with pytest.raises(SettingsError, match="dtimer_shards"):
            proj.note.post_in(60)
        assert place.dump() == stored
