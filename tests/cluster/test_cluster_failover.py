"""Masters of a cluster die, or hang, while events are posted, fired and confirmed."""

import threading
import time
from collections import Counter

import pytest
from members import Call, blocks, ids_of, is_empty, wait_until_empty
from redis.cluster import RedisCluster
from rig.releases import rights, user_of
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
from celery_dtimer.timer.listening.config import ListenerConfig
from celery_dtimer.timer.listening.listener import Listener

FALLEN = 1  # the shard whose master is killed
KEY = f"{{dt:{FALLEN}}}:events"


def posted(timer, event_id, delay=600):
    """Post until it is done; returns how often it was refused."""
    for refusals in range(200):
        try:
            timer.post(b"p", delay, id=event_id, on_conflict="keep")
        except TimerUnavailableError:
            time.sleep(0.05)
        else:
            return refusals
    raise AssertionError("no post in all that time")


# --- one master is killed, and its replica takes over


def test_no_event_is_lost_whose_post_returned_when_its_replica_had_it(fleet, make_timer):
    timer = make_timer(fleet.url, wait_replicas=1, wait_timeout=2)
    kill = threading.Timer(0.5, fleet.master_of(KEY).kill)
    kill.start()
    ids = ids_of(timer, FALLEN, 5000)
    returned, unavailable = [], 0
    while True:
        event_id = ids[len(returned)]
        try:
            timer.post(event_id, 600, id=event_id, on_conflict="keep")
        except TimerUnavailableError:
            unavailable += 1
        except NotReplicatedError:
            # By the new master, which has no replica.
            break
        else:
            returned.append(event_id)
    assert len(returned) > 10
    rows = {row.id: row.payload for row in make_timer(fleet.url).upcoming(limit=10_000, payloads=True)}
    assert {event_id: rows.get(event_id) for event_id in returned} == {
        event_id: event_id.encode() for event_id in returned
    }


def test_posts_are_unavailable_until_the_failover_and_those_to_other_shards_are_not(fleet, make_timer):
    timer = make_timer(fleet.url)
    here, others = ids_of(timer, FALLEN, 20), ids_of(timer, 0, 20) + ids_of(timer, 2, 20)
    timer.post_many([Post(b"p", 600, id=event_id) for event_id in (here[0], others[0])])
    fleet.wait_for_replicas()
    old = fleet.master_of(KEY)
    old.kill()
    for event_id in others[1:]:
        timer.post(b"p", 600, id=event_id)
    posted(timer, here[1])
    assert fleet.wait_for_failover(KEY, old) is not old
    for event_id in here[2:]:
        timer.post(b"p", 600, id=event_id)
    assert timer.count().pending == len(here) + len(others)
    assert all(timer.cancel(event_id) for event_id in here + others)


def test_events_fire_on_the_new_master_and_none_early(no_poll, fleet, make_timer, join):
    poster = make_timer(fleet.url)
    member = join(fleet.url, max_events=50, confirm_timeout=2)
    ids = poster.post_many([Post(b"p", i / 50, id=str(i)) for i in range(300)])
    fleet.wait_for_replicas()
    wait_until(lambda: len(member.ids) >= 50, "the first events to fire")
    new = fleet.fail_over(KEY)
    wait_until(lambda: set(member.ids) >= set(ids), "all events", 30)
    wait_until_empty(poster, 30)
    assert min(member.late_ms) >= 0
    # Again, what had been claimed or confirmed, and had not reached the replica.
    assert len(member.ids) <= len(ids) + 2 * 50
    wait_until(lambda: blocks(new), "the wake thread to block on the new master", 20)
    for event_id in ids_of(poster, FALLEN, 5, "last"):
        poster.post(b"p", 0, id=event_id)
        wait_until(lambda event_id=event_id: member.ids[-1] == event_id, "an event that was announced")
    assert len(member.errors) <= 1


def test_every_master_is_killed_one_after_the_other_and_every_event_fires(fleet, make_timer, join):
    poster = make_timer(fleet.url)
    members = [join(fleet.url, max_events=20, confirm_timeout=2) for _ in range(2)]
    ids = poster.post_many([Post(b"p", i / 40, id=str(i)) for i in range(800)])
    fleet.wait_for_replicas()
    for shard in range(3):
        fleet.fail_over(f"{{dt:{shard}}}:events")
        fleet.heal()
    wait_until(lambda: set(members[0].ids + members[1].ids) >= set(ids), "all events", 40)
    wait_until_empty(poster, 30)
    fired = members[0].ids + members[1].ids
    assert set(fired) == set(ids)
    # A kill finds no more in a listener's hands than it may hold, and as many confirms on their way to a replica.
    assert len(fired) <= len(ids) + 3 * 2 * 2 * 20
    assert min(members[0].late_ms + members[1].late_ms) >= 0


def test_a_confirm_during_the_failover_reaches_the_new_master(fleet, make_timer, join):
    held = []
    member = join(fleet.url, max_events=100, confirm_timeout=60, act=held.append)
    ids = ids_of(member.timer, FALLEN, 20)
    member.timer.post_many([Post(b"p", 0, id=event_id) for event_id in ids])
    wait_until(lambda: len(held) == 20, "the events")
    fleet.wait_for_replicas()
    old = fleet.master_of(KEY)
    old.kill()
    for delivery in held[:10]:
        member.timer.confirm_soon(delivery)
    fleet.wait_for_failover(KEY, old)
    other = make_timer(fleet.url)
    wait_until(lambda: other.count().leased == 10, "the confirms", 20)
    assert all(other.confirm(delivery) for delivery in held[10:])
    assert is_empty(other)
    assert Counter(member.ids) == Counter(ids)


def test_a_confirm_of_another_shard_does_not_wait_for_the_failover(bare_fleet, make_timer, join):
    held = []
    member = join(bare_fleet.url, max_events=100, confirm_timeout=60, act=held.append)
    here, there = ids_of(member.timer, FALLEN, 5), ids_of(member.timer, 0, 5)
    member.timer.post_many([Post(b"p", 0, id=event_id) for event_id in here + there])
    wait_until(lambda: len(held) == 10, "the events")
    master = bare_fleet.master_of(KEY)
    master.pause()
    for delivery in held:
        member.timer.confirm_soon(delivery)
    other = make_timer(bare_fleet.url)
    wait_until(lambda: not any(other.peek(event_id) for event_id in there), "the confirms of the other shard")
    master.resume()
    wait_until_empty(make_timer(bare_fleet.url))


def test_a_master_that_hangs_is_left_and_comes_back_as_a_replica(fleet, make_timer, join):
    poster = make_timer(fleet.url)
    member = join(fleet.url)
    before, after, last = ids_of(poster, FALLEN, 3)
    poster.post(b"p", 0, id=before)
    wait_until(lambda: member.ids == [before], "the first event")
    fleet.wait_for_replicas()
    old = fleet.master_of(KEY)
    old.pause()
    new = fleet.wait_for_failover(KEY, old)
    posted(poster, after, 0)
    wait_until(lambda: after in member.ids, "the event of the new master", 20)
    wait_until(lambda: blocks(new), "the wake thread to block on the new master", 20)
    old.resume()
    fleet.settle()
    posted(poster, last, 0)
    wait_until(lambda: last in member.ids, "one more event", 20)
    wait_until_empty(poster)


@pytest.mark.parametrize("operation", ["post", "cancel", "change"])
def test_what_a_master_answers_that_was_replaced_meanwhile_is_not_believed(fleet, make_timer, operation):
    timer = make_timer(fleet.url)
    [event_id] = ids_of(timer, FALLEN, 1)
    calls = {
        "post": lambda: timer.post(b"p", 600, id=event_id),
        "cancel": lambda: timer.cancel(event_id),
        "change": lambda: timer.change_delay(event_id, 6000),
    }
    if operation != "post":
        timer.post(b"p", 600, id=event_id)
    before = timer.peek(event_id)
    fleet.wait_for_replicas()
    old = fleet.master_of(KEY)
    old.pause()
    # It lies in the socket of the old master, which carries it out before it hears that it is none any more.
    call = Call(calls[operation])
    fleet.wait_for_failover(KEY, old)
    old.resume()
    with pytest.raises(TimerUnavailableError):
        call.result()
    assert make_timer(fleet.url).peek(event_id) == before
    assert calls[operation]()


def test_what_is_claimed_of_a_master_that_was_replaced_meanwhile_is_not_delivered(fleet, make_timer, join):
    poster = make_timer(fleet.url)
    members = [join(fleet.url, max_events=20) for _ in range(2)]
    ids = ids_of(poster, FALLEN, 30)
    poster.post_many([Post(b"p", 1.5 + n / 100, id=event_id) for n, event_id in enumerate(ids)])
    fleet.wait_for_replicas()
    old = fleet.master_of(KEY)
    old.pause()
    fleet.wait_for_failover(KEY, old)
    old.resume()
    wait_until(lambda: set(members[0].ids + members[1].ids) == set(ids), "the events", 30)
    wait_until_empty(poster, 30)
    assert Counter(members[0].ids + members[1].ids) == Counter(ids)


# --- a master that nobody replaces


class TestAlone:
    """A cluster without replicas, one of whose masters is away."""

    @pytest.fixture
    def master(self, bare_fleet):
        return bare_fleet.master_of(KEY)

    @pytest.mark.parametrize("away", ["pause", "stop"])
    def test_the_other_shards_events_are_served(self, bare_fleet, make_timer, join, master, away):
        poster = make_timer(bare_fleet.url)
        members = [join(bare_fleet.url) for _ in range(2)]
        rounds = [ids_of(poster, 0, 5, f"{n} ") + ids_of(poster, 2, 5, f"{n} ") for n in range(4)]
        poster.post_many([Post(b"p", 0.5, id=event_id) for event_id in rounds[0]])
        getattr(master, away)()
        for ids in rounds[1:]:
            for event_id in ids:
                poster.post(b"p", 0.2, id=event_id)
            wait_until(lambda ids=ids: set(ids) <= set(members[0].ids + members[1].ids), "their events", 20)
        assert Counter(members[0].ids + members[1].ids) == Counter(event_id for ids in rounds for event_id in ids)
        assert min(members[0].late_ms + members[1].late_ms) >= 0
        if away == "pause":
            master.resume()
        else:
            master.start()
        [here] = ids_of(poster, FALLEN, 1)
        posted(poster, here, 0)
        wait_until(lambda: here in members[0].ids + members[1].ids, "the event of the master that is back", 20)
        wait_until_empty(poster)

    def test_leases_of_the_other_shards_are_renewed_meanwhile(self, bare_fleet, make_timer, join, master):
        timer = make_timer(bare_fleet.url)
        held = []
        # As in a worker whose tasks take long.
        config = ListenerConfig(
            queues=lambda: ("default",),
            deliver=held.extend,
            max_events=8,
            confirm_timeout=10,
            poll_interval=1,
            alive=lambda delivery: True,
            on_error=lambda error: None,
        )
        listener = Listener(timer.shards, config)
        listener.start()
        ids = ids_of(timer, 0, 3) + ids_of(timer, 2, 3)
        timer.post_many([Post(b"p", 0, id=event_id) for event_id in ids])
        wait_until(lambda: len(held) == 6, "the events")
        heir = join(bare_fleet.url)
        master.pause()
        end = time.monotonic() + 20
        while time.monotonic() < end:
            assert [timer.shards.of(event_id).peek(event_id).redeliveries for event_id in ids] == [0] * 6
            time.sleep(0.2)
        master.resume()
        assert heir.ids == []
        for delivery in held:
            listener.confirm(delivery)
        wait_until_empty(timer)
        listener.stop(20)

    def test_many_posts_say_which_are_stored(self, bare_fleet, make_timer, master):
        timer = make_timer(bare_fleet.url)
        timer.post(b"p", 600, id="first")
        master.pause()
        with pytest.raises(PostManyError) as caught:
            timer.post_many([Post(b"p", 600, id=str(n)) for n in range(60)])
        master.resume()
        bare_fleet.settle()
        error = caught.value
        here = set(ids_of(timer, FALLEN, 60)) & {str(n) for n in range(60)}
        assert set(error.unknown) == here
        assert not here & set(error.stored)
        for event_id in error.stored:
            assert timer.peek(event_id) is not None
        untold = {str(n) for n in range(60)} - set(error.stored) - set(error.unknown)
        assert all(timer.peek(event_id) is None for event_id in untold)

    def test_leave_ends(self, bare_fleet, join, master):
        member = join(bare_fleet.url)
        master.pause()
        leaving = Call(member.timer.leave)
        leaving.result(30)
        wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith("dtimer")], "its threads to end")
        master.resume()

    def test_a_listener_that_begins_meanwhile_serves_the_other_shards(self, bare_fleet, make_timer, join, master):
        poster = make_timer(bare_fleet.url)
        there = ids_of(poster, 2, 5)
        poster.post_many([Post(b"p", 0, id=event_id) for event_id in there])
        master.pause()
        member = join(bare_fleet.url)
        wait_until(lambda: set(member.ids) == set(there), "the events", 20)
        master.resume()
        [here] = ids_of(poster, FALLEN, 1)
        posted(poster, here, 0)
        wait_until(lambda: here in member.ids, "the event of the master that is back", 20)
        wait_until_empty(poster)


# --- errors, and where the cluster is


def test_a_full_master_refuses_the_posts_of_its_shards_alone(calm, make_timer):
    timer = make_timer(calm.url)
    timer.count()  # the number of shards is stored, in shard 0, which may be about to be full
    full = calm.master_of(KEY)
    # Another test may have moved the slot to one of the other two shards' masters.
    other = next(number for number in (0, 2) if calm.master_of(f"{{dt:{number}}}:events").port != full.port)
    here, there = ids_of(timer, FALLEN, 20), ids_of(timer, other, 20)
    with full.client() as client:
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(TimerFullError):
                timer.post(b"p", 600, id=here[0])
            timer.post(b"p", 600, id=there[0])
            with pytest.raises(PostManyError) as caught:
                timer.post_many([Post(b"p", 600, id=event_id) for event_id in here[1:] + there[1:]])
        finally:
            client.config_set("maxmemory", 0)
    assert isinstance(caught.value.__cause__, TimerFullError)
    assert caught.value.unknown == ()
    assert set(caught.value.stored) <= set(there)
    assert timer.count().pending == 1 + len(caught.value.stored)
    assert all(timer.cancel(event_id) for event_id in (there[0], *caught.value.stored))


def test_any_node_of_the_url_will_do(fleet, make_timer):
    hosts = fleet.url.partition("://")[2].split(",")
    fleet.servers[3].kill()  # a replica
    timer = make_timer(f"redis+cluster://{hosts[3]},{hosts[4]}")
    timer.post_many([Post(b"p", 600, id=str(n)) for n in range(30)])
    assert make_timer(f"redis+cluster://{hosts[1]}").count().pending == 30


def test_where_no_node_answers_the_timer_is_unavailable(bare_fleet, make_timer):
    timer = make_timer(bare_fleet.url)
    timer.post_many([Post(b"p", 600, id=str(n)) for n in range(5)])
    for server in bare_fleet.servers:
        server.stop()
    for used in (timer, make_timer(bare_fleet.url)):
        with pytest.raises(TimerUnavailableError):
            used.peek("0")
        with pytest.raises(TimerUnavailableError):
            used.post(b"p", 1)


def test_a_plain_server_is_no_cluster_and_the_error_says_so(redis_url, make_timer):
    with pytest.raises((TimerUnavailableError, ValueError), match="cluster"):
        make_timer(redis_url.replace("redis://", "redis+cluster://").removesuffix("/0")).peek("x")


def test_a_cluster_behind_a_plain_url_says_what_url_to_use(calm, make_timer):
    # Earlier failovers and moves of slots may have given its one shard to any master.
    owner = calm.master_of("{dt:0}:events")
    url = next(server.url for server in calm.masters() if server is not owner)
    with pytest.raises(TimerUnavailableError, match=r"redis\+cluster://"):
        make_timer(url, shards=1).post(b"p", 60)


def test_the_documented_user_may_do_all_that_shards_in_a_cluster_need(calm, make_timer, join):
    [pattern] = [rule for rule in rights() if rule.startswith("~")]
    rules = [rule for rule in rights() if rule != pattern]
    more = ["~{dt:*}:*", "+set", "+cluster|slots"]
    for server in calm.servers:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "dtimer", *rules, *more)
    url = calm.url.replace("://", f"://{user_of(rights())}")
    timer = make_timer(url)
    member = join(url)
    ids = timer.post_many([Post(b"p", 0, id=str(n)) for n in range(30)])
    wait_until(lambda: sorted(member.ids) == sorted(ids), "the events")
    wait_until_empty(timer)
    assert member.errors == []
    member.timer.leave()
    for server in calm.servers:
        with server.client() as client:
            client.execute_command("ACL", "DELUSER", "dtimer")


def test_a_wrong_password_is_called_that(calm, make_timer):
    with pytest.raises(TimerUnavailableError, match="refused the user or the password"):
        make_timer(calm.url.replace("://", "://nobody:wrong@")).peek("x")


def test_a_client_of_redis_py_for_clusters_is_refused_with_what_to_give_in_its_place(calm):
    host, _, port = calm.url.partition("://")[2].split(",")[0].partition(":")
    with RedisCluster(host, int(port)) as client, pytest.raises(InvalidEventError, match=r"redis\+cluster://"):
        DTimer(client)


def test_scripts_that_a_master_forgot_are_sent_again(calm, make_timer, join):
    timer = make_timer(calm.url)
    member = join(calm.url)
    for number in range(5):
        for server in calm.masters():
            with server.client() as client:
                client.script_flush()
        ids = timer.post_many([Post(b"p", 0, id=f"{number}-{n}") for n in range(6)])
        wait_until(lambda ids=ids: set(ids) <= set(member.ids), "the events")
    wait_until_empty(timer)
    assert member.errors == []


def test_a_listener_whose_connections_are_killed_goes_on(calm, make_timer, join):
    with DTimer(calm.url, shards=3) as timer:
        member = join(calm.url)
        for number in range(3):
            for server in calm.masters():
                with server.client() as client:
                    client.client_kill_filter(_type="normal", skipme=True)
            for event_id in (f"{number}-{n}" for n in range(6)):
                posted(timer, event_id, 0)
            wait_until(lambda number=number: sum(i.startswith(f"{number}-") for i in member.ids) >= 6, "the events")
            wait_until_empty(timer)
