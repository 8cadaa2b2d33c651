"""Posts that wait for replicas: what they say when too few have the event, and that this makes nothing a conflict."""

import pytest
from rig.servers import RedisServer
from rig.waiting import wait_until

from celery_dtimer import (
    DTimer,
    InvalidEventError,
    NotReplicatedError,
    Post,
    PostManyError,
    TimerFullError,
    TimerUnavailableError,
)


@pytest.fixture(scope="module")
def pair():
    """A master and its replica: the first sync takes a second."""
    with RedisServer(options={"repl-diskless-sync-delay": "0"}) as master, RedisServer() as replica:
        with replica.client() as client:
            client.replicaof("127.0.0.1", master.port)
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", "the replica to be linked", 30)
        yield master, replica


@pytest.fixture
def master(pair):
    with pair[0].client() as client:
        client.flushall()
        yield pair[0]
        client.config_set("maxmemory", 0)


@pytest.fixture
def replica(pair, master):
    yield pair[1]
    pair[1].resume()


@pytest.fixture
def make_timer(master):
    timers = []

    def make(**options):
        timers.append(DTimer(master.url, **{"wait_replicas": 1, "wait_timeout": 0.1, **options}))
        return timers[-1]

    yield make
    for timer in timers:
        timer.close()


@pytest.fixture
def patient(make_timer):
    """One that does not give up because the machine is busy."""
    return make_timer(wait_timeout=4)


def test_a_post_returns_when_a_replica_has_the_event(patient, replica):
    patient.post(b"p", 60, id="x")
    with DTimer(replica.url) as on_replica:
        assert on_replica.peek("x").payload == b"p"
    assert patient.post_many([Post(b"p", 60, id="y"), Post(b"p", 60, id="z", queue="other")]) == ["y", "z"]
    with DTimer(replica.url) as on_replica:
        assert on_replica.count().pending == 3


def test_a_post_that_no_replica_has_in_time_says_so_and_is_stored(make_timer, replica):
    timer = make_timer()
    replica.pause()
    with pytest.raises(NotReplicatedError) as caught:
        timer.post(b"p", 60, id="x")
    assert (caught.value.event_ids, caught.value.wanted, caught.value.replicas) == (("x",), 1, 0)
    for word in ("event x is stored", "0 replicas", "0.1 s", "and wait_replicas is", "same id"):
        assert word in str(caught.value)
    assert not isinstance(caught.value, TimerUnavailableError)
    assert timer.peek("x").payload == b"p"


def test_without_so_many_replicas_the_post_is_stored_and_not_replicated(make_timer):
    timer = make_timer(wait_replicas=2)
    with pytest.raises(NotReplicatedError, match="is 2"):
        timer.post(b"p", 60, id="x")
    assert timer.peek("x") is not None


@pytest.mark.parametrize("conflict", ["keep", "replace", "postpone"])
def test_an_event_that_is_there_already_is_waited_for_all_the_same(make_timer, replica, conflict):
    replica.pause()
    with pytest.raises(NotReplicatedError):
        make_timer().post(b"p", 60, id="x")
    # A connection of its own, which has written nothing before.
    again = make_timer()
    with pytest.raises(NotReplicatedError):
        again.post(b"p", 60, id="x", on_conflict=conflict)
    replica.resume()
    assert make_timer(wait_timeout=4).post(b"p", 60, id="x", on_conflict=conflict) == "x"


def test_a_repeat_of_a_post_whose_answer_was_lost_is_waited_for_and_no_conflict(make_timer, replica):
    replica.pause()
    timer = make_timer()
    event = timer._new_event(Post(b"p", 60, id="x"))
    with pytest.raises(NotReplicatedError):
        timer.shards[0].post([event])
    with pytest.raises(NotReplicatedError):
        make_timer().shards[0].post([event], conflict="again")
    replica.resume()
    assert make_timer(wait_timeout=4).shards[0].post([event], conflict="again")[0] > 0


def test_a_post_that_is_refused_is_waited_for_in_vain_by_nobody(make_timer, replica):
    timer = make_timer()
    replica.pause()
    with pytest.raises(NotReplicatedError):
        timer.post(b"p", 60, id="x")
    with pytest.raises(ValueError, match="pending already"):
        timer.post(b"other", 60, id="x")


def test_many_posts_are_all_stored_and_those_without_a_replica_are_named(make_timer, replica):
    timer = make_timer()
    replica.pause()
    posts = [Post(b"p", 60, id=str(i), queue="ab"[i % 2]) for i in range(600)]
    with pytest.raises(NotReplicatedError) as caught:
        timer.post_many(posts)
    assert sorted(caught.value.event_ids) == sorted(post.id for post in posts)
    assert timer.count().pending == 600
    with pytest.raises(PostManyError) as caught:
        timer.post_many([Post(b"p", 60, id="new", queue="a"), *posts[:3], Post(b"q", 60, id="new", queue="a")])
    assert caught.value.stored == caught.value.not_replicated == ("new",)
    assert sorted(caught.value.refused) == ["0", "1", "2", "new"]
    assert isinstance(caught.value.__cause__, NotReplicatedError)


def test_a_post_that_waits_survives_script_flush(patient, replica, master):
    with master.client() as client:
        for i in range(3):
            client.script_flush()
            patient.post(b"p", 60, id=str(i))
    assert patient.count().pending == 3


def test_a_full_redis_refuses_a_post_that_would_wait(patient, replica, master):
    with master.client() as client:
        client.config_set("maxmemory", 1)
    with pytest.raises(TimerFullError):
        patient.post(b"p", 60)


def test_a_user_that_may_not_wait_is_told_that_its_events_are_stored(make_timer, replica, master):
    with master.client() as client:
        client.execute_command("ACL", "SETUSER", "poster", "on", ">pw", "~*", "+@all", "-wait")
    with DTimer(master.url.replace("://", "://poster:pw@"), wait_replicas=1) as timer:
        with pytest.raises(NotReplicatedError, match="permission") as caught:
            timer.post(b"p", 60, id="x")
        assert caught.value.replicas == 0
        assert caught.value.__cause__ is not None
        assert timer.peek("x") is not None


def test_waiting_leaves_no_key(patient, replica, master):
    patient.post(b"p", 60, id="x", on_conflict="keep")
    patient.post(b"p", 60, id="x", on_conflict="keep")
    patient.cancel("x")
    with master.client() as client:
        wait_until(lambda: list(client.scan_iter(match="*wait")) == [], "the key of the wait to expire")


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"wait_replicas": -1}, "wait_replicas"),
        ({"wait_replicas": "1"}, "wait_replicas"),
        ({"wait_replicas": True}, "wait_replicas"),
        ({"wait_timeout": 0}, "wait_timeout"),
        ({"wait_timeout": 4.1}, "wait_timeout"),
        ({"wait_timeout": "1"}, "wait_timeout"),
        ({"eviction_check": "fail"}, "eviction_check"),
    ],
)
def test_an_argument_out_of_its_range_is_named(options, argument):
    with pytest.raises(InvalidEventError, match=argument) as caught:
        DTimer("redis://localhost", **options)
    assert caught.value.argument == argument
