"""A timer behind sentinels whose master dies while events are posted, fired and confirmed."""

import signal
import threading
import time
from collections import Counter

import pytest
import redis
from redis.sentinel import Sentinel
from rig.sentinels import NAME
from rig.waiting import wait_until

from celery_dtimer import DTimer, NotReplicatedError, Post, TimerUnavailableError, get_timer
from celery_dtimer.timer.storing.scripts import load

POLICY = {"max_retries": 100, "interval_start": 0.1, "interval_step": 0, "interval_max": 0.1}


class Handler:
    """Joins a timer, and writes down what it is given: (id, milliseconds late)."""

    def __init__(self, timer, act=None):
        self.timer = timer
        self.seen = []
        self.errors = []
        self._act = act or timer.confirm_soon
        timer.on_event(self._on_event)
        timer.on_error(self.errors.append)
        timer.join()

    def _on_event(self, delivery):
        self.seen.append((delivery.id, time.time() * 1000 - delivery.due_ms))
        self._act(delivery)

    @property
    def ids(self):
        return [event_id for event_id, _ in self.seen]


def is_empty(timer):
    try:
        counts = timer.count()
    except TimerUnavailableError:
        return False
    return counts.pending == counts.leased == counts.parked == 0


def blocks(server):
    """Whether a wake thread blocks on this server."""
    with server.client() as watcher:
        return "blpop" in {row["cmd"] for row in watcher.client_list() if "b" in row["flags"]}


def test_no_event_is_lost_whose_post_returned_when_its_replica_had_it(fleet, make_timer):
    timer = make_timer(wait_replicas=1, wait_timeout=2)
    kill = threading.Timer(0.5, fleet.master.kill)
    kill.start()
    end = None
    posted, refusals = [], 0
    while end is None or time.monotonic() < end:
        event_id = str(len(posted))
        try:
            timer.post(event_id, 600, id=event_id, on_conflict="keep")
        except TimerUnavailableError:
            refusals += 1
            continue
        except NotReplicatedError:
            # By the new master, which has no replica.
            if end is None:
                end = time.monotonic() + 1
                timer.shards[0].replication = make_timer().shards[0].replication
        posted.append(event_id)
    assert refusals
    assert timer.count().pending == len(posted)
    rows = {row.id: row.payload for row in timer.upcoming(limit=10_000, payloads=True)}
    assert rows == {event_id: event_id.encode() for event_id in posted[:10_000]}


@pytest.mark.parametrize("given", ["a URL", "a client", "as kombu spells it"])
def test_events_fire_on_the_new_master_and_none_early(fleet, make_timer, given):
    place = fleet.url
    if given == "a client":
        sentinels = [("127.0.0.1", node.port) for node in fleet.sentinels]
        place = Sentinel(sentinels, socket_timeout=2).master_for(NAME, protocol=2, socket_timeout=2)
    elif given == "as kombu spells it":
        place = f"{fleet.broker_url}?master_name={NAME}"
    poster = make_timer()
    handler = Handler(make_timer(place, max_events=50, confirm_timeout=2))
    ids = poster.post_many([Post(b"p", i / 50, id=str(i)) for i in range(300)])
    fleet.wait_for_replicas()
    wait_until(lambda: len(handler.ids) >= 50, "the first events to fire")
    new = fleet.fail_over()
    wait_until(lambda: set(handler.ids) == set(ids) and is_empty(poster), "all events, and their confirms", 30)
    assert min(late for _, late in handler.seen) >= 0
    # Again, what had been claimed or confirmed, and had not reached the replica.
    assert len(handler.ids) <= len(ids) + 2 * 50
    wait_until(lambda: blocks(new), "the wake thread to block on the new master", 20)
    poster.post(b"p", 0, id="last")
    wait_until(lambda: handler.ids[-1] == "last", "an event of the new master alone")
    assert len(handler.errors) == 1
    handler.timer.leave()


def test_a_confirm_during_the_failover_reaches_the_new_master(fleet, make_timer):
    held = []
    handler = Handler(make_timer(max_events=100, confirm_timeout=60), act=held.append)
    handler.timer.post_many([Post(b"p", 0, id=str(i)) for i in range(20)])
    wait_until(lambda: len(held) == 20, "the events")
    fleet.wait_for_replicas()
    old = fleet.master
    old.kill()
    for delivery in held[:10]:
        handler.timer.confirm_soon(delivery)
    with pytest.raises(TimerUnavailableError):
        handler.timer.confirm(held[10])
    fleet.wait_for_failover(old)
    wait_until(
        lambda: handler.timer._listener.in_flight == 10 and not handler.timer._listener._shards[0].failures,
        "its answer",
    )
    with DTimer(fleet.url) as other:
        wait_until(lambda: other.count().leased == 10, "the confirms")
        assert all(other.confirm(delivery) for delivery in held[10:])
        assert is_empty(other)
    assert Counter(handler.ids) == Counter(str(i) for i in range(20))


def test_a_new_master_that_knows_no_script_is_given_them(fleet, make_timer):
    timer = make_timer()
    timer.post(b"p", 600, id="x")
    fleet.wait_for_replicas()
    with fleet.fail_over().client() as client:
        assert client.script_exists(load("post").sha, load("peek").sha) == [False, False]
    wait_until(lambda: posted(timer, "y"), "the second post")
    assert timer.peek("x") is not None
    assert timer.cancel("x")
    assert timer.cancel("y")


def posted(timer, event_id):
    try:
        return timer.post(b"p", 600, id=event_id, on_conflict="keep")
    except TimerUnavailableError:
        return None


def test_a_master_that_hangs_is_left_and_comes_back_as_a_replica(fleet, make_timer):
    handler = Handler(make_timer())
    handler.timer.post(b"p", 0, id="before")
    wait_until(lambda: handler.ids == ["before"], "the first event")
    old = fleet.master
    old.pause()
    new = fleet.wait_for_failover(old)
    wait_until(lambda: blocks(new), "the wake thread to block on the new master", 20)
    poster = make_timer()
    poster.post(b"p", 0, id="after")
    wait_until(lambda: handler.ids == ["before", "after"], "the event of the new master")
    old.resume()
    with old.client() as client:
        wait_until(lambda: client.info("replication")["role"] == "slave", "the old master to follow", 30)
    poster.post(b"p", 0, id="last")
    wait_until(lambda: handler.ids == ["before", "after", "last"], "one more event")


def test_no_command_is_given_the_answer_to_one_that_was_interrupted(calm_fleet):
    timer = DTimer(calm_fleet.url)
    client = timer.shards[0].server.client

    class Interrupted(Exception):  # noqa: N818 - as Celery's SoftTimeLimitExceeded
        pass

    def interrupt(*_):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(Interrupted):
            client.execute_command("BLPOP", "nothing", 0.5)
        assert client.echo("mine") == b"mine"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        timer.close()


def test_where_no_sentinel_answers_the_timer_is_unavailable(fleet, make_timer):
    timer = make_timer()
    timer.post(b"p", 600, id="x")
    for node in fleet.sentinels:
        node.process.kill()
    # What is connected stays so; a new connection needs a sentinel.
    assert timer.cancel("x")
    with pytest.raises(TimerUnavailableError, match="no sentinel of 127.0.0.1"):
        make_timer().peek("x")


def test_a_master_that_the_sentinels_do_not_know_is_named(calm_fleet):
    with (
        DTimer(calm_fleet.url.replace(NAME, "other")) as timer,
        pytest.raises(TimerUnavailableError, match="has a master 'other': an unknown name"),
    ):
        timer.peek("x")


def test_a_broker_behind_sentinels_is_the_timers_redis_too(calm_fleet, make_app):
    app = make_app(broker=calm_fleet.broker_url, broker_transport_options={"master_name": NAME})

    @app.task
    def note():
        pass

    result = note.post_in(600)
    assert get_timer(make_app(dtimer_url=calm_fleet.url)).peek(result.id) is not None
    assert result.cancel()


class TestWorker:
    """A worker of Celery, over a broker that does not fail."""

    @pytest.fixture
    def timer_url(self, fleet):
        return fleet.url

    def test_a_worker_runs_what_was_posted_before_and_amid_the_failover(
        self, fleet, proj, start_worker, wait_for_records, timer
    ):
        worker = start_worker(env={"CONFIRM_TIMEOUT": "2"})
        ids = [proj.shared.post_in(i / 10, i).id for i in range(60)]
        fleet.wait_for_replicas()
        wait_for_records(10)
        old = fleet.master
        old.kill()
        with pytest.raises(redis.ConnectionError), old.client(retry=None) as client:
            client.ping()
        # It goes on trying, and is no conflict with itself.
        ids += [proj.shared.post((i,), delay=0.5, retry_policy=POLICY).id for i in range(5)]
        wait_until(lambda: set(ids) <= {row["id"] for row in proj.records()}, "all tasks", 30)
        wait_until(lambda: is_empty(timer), "the last confirm", 30)
        rows = proj.records()
        assert min(row["at"] - row["due"] for row in rows) >= 0
        assert worker.logs().count("the timer's Redis failed") == 1
        assert "the timer's Redis answers again" in worker.logs()
