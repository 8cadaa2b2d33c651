"""A broker that is killed and comes back, and a timer's Redis that does: what runs goes on, and nothing is lost."""

import random
import time
from collections import Counter

import pytest
from pytest_celery import CELERY_REDIS_BROKER
from rig.records import RECORDS, records_client
from rig.waiting import wait_until
from rig.workers import QUICK_START

EVENTS = 5_000
CONCURRENCY = 2
BROKER_KILLS, TIMER_KILLS = 5, 3
GROWTH_ALLOWED = 8 * 1024 * 1024  # bytes

#: Names the threads of the worker's main process, by remote control.
CENSUS = """
import threading
from celery.worker.control import inspect_command
from proj import app

@inspect_command()
def thread_names(state):
    return sorted(thread.name for thread in threading.enumerate())
"""

#: Celery's worker sends its heartbeat event with retries. One that comes between the broker's death and the worker's
#: notice of it holds the worker's main thread, and all that waits for that, until the broker is back.
NO_HEARTBEAT = (*QUICK_START, "--without-heartbeat")

NODES = ["redis node", "rabbitmq node"]


@pytest.fixture(params=NODES)
def broker_transport(request):
    return request.param


@pytest.fixture
def broker(request, broker_transport, broker_place):
    """The broker itself, to be killed and restarted; no broker, for tests that break another server."""
    name = {"redis node": CELERY_REDIS_BROKER, "rabbitmq node": "rabbitmq_node"}[broker_transport]
    return request.getfixturevalue(name)


@pytest.fixture
def census(worker_app):
    """Makes the module whose workers answer ``thread_names``, and asks them."""
    (worker_app.folder / "census.py").write_text(CENSUS, encoding="utf-8")

    def threads_of(worker):
        # Over a connection of its own: a pooled one may be to the server that was killed.
        with worker_app.app.connection_for_write() as connection:
            [answer] = worker_app.app.control.broadcast(
                "thread_names", connection=connection, destination=[worker.hostname()], reply=True, timeout=30, limit=1
            )
        return answer[worker.hostname()]

    return threads_of


@pytest.fixture
def healthy(start_worker):
    """Starts a worker whose broker, unlike the others', does not die."""

    def start(**options):
        env = {"BROKER_URL": "memory://", "BROKER_TRANSPORT_OPTIONS": "{}", **options.pop("env", {})}
        return start_worker(name="healthy", env=env, **options)

    return start


def post_all(proj, longest_delay):
    """Post all events. A third is acknowledged as it starts, as is Celery's default; the others at their end."""
    chance = random.Random(0)
    posted = set()
    for number in range(EVENTS):
        delay = chance.uniform(0, longest_delay)
        match number % 3:
            case 0:
                result = proj.note.post_in(delay)
            case 1:
                result = proj.shared.post_in(delay, "value")
            case _:
                result = proj.nap.post_in(delay, 0.02)
        posted.add(result.id)
    return posted


def runs_of(proj):
    return records_client().llen(RECORDS)


def reconnected(worker, times):
    """Wait until the worker has got over so many losses of its broker."""
    wait_until(lambda: worker.logs().count("dtimer: firing again") >= times, f"reconnect {times}", 60)


def duplicates_beside(rows, kills):
    """Tasks that ran more than once, and of those the ones whose first run was not under way at one of the kills."""
    starts, ends = {}, {}
    for row in rows:
        (starts if row["event"] == "start" else ends).setdefault(row["id"], []).append(row["at"])
    repeated = {task_id: at for task_id, at in starts.items() if len(at) > 1}
    # A task that is handed to a pool process in the instant of the kill writes its first line just after it.
    unexplained = [task_id for task_id, at in repeated.items() if not any(0 <= at[0] + 2 - kill <= 4 for kill in kills)]
    return repeated, unexplained


@pytest.mark.timeout(400)
def test_a_broker_that_is_killed_five_times_while_5000_events_fire_loses_none_of_them(
    proj, start_worker, broker, census, wait_until_empty
):
    # With monitoring events on, a worker writes to its broker for every task that is fired.
    env, arguments = {"CONFIRM_TIMEOUT": "5"}, (*QUICK_START, "-E")
    workers = [
        start_worker(concurrency=CONCURRENCY, name=name, app_module="census", env=env, arguments=arguments)
        for name in ("a", "b")
    ]
    assert proj.note.post_in(0, "warm").get(timeout=20)
    before = [(census(worker), worker.rss()) for worker in workers]
    posted = post_all(proj, 20)
    kills, away = [], 0.0
    for number in range(1, BROKER_KILLS + 1):
        enough = number * EVENTS // (BROKER_KILLS + 2)
        wait_until(lambda enough=enough: runs_of(proj) >= enough, f"{enough} records", 120)
        kills.append(time.time())
        broker.kill()
        broker.restart()
        away += time.time() - kills[-1]
        for worker in workers:
            reconnected(worker, number)
    wait_until_empty(120)

    rows = [row for row in proj.records() if row["id"] in posted]
    counts = Counter(row["id"] for row in rows if row["event"] == "start")
    repeated, unexplained = duplicates_beside(rows, kills)
    lost = posted - set(counts)
    after = [(census(worker), worker.rss()) for worker in workers]
    grown = max(now - then for (_, then), (_, now) in zip(before, after, strict=True))
    print(
        f"{len(posted)} events, {len(kills)} kills, {away:.0f} s without a broker in all: {len(lost)} lost, "
        f"{len(repeated)} ran again; the larger worker grew by {grown / 1024:.0f} KiB"
    )
    assert not lost
    assert not unexplained
    # A kill finds no more in doubt than one task for each pool process.
    assert len(repeated) <= len(kills) * CONCURRENCY * len(workers)
    assert min(row["at"] - row["due"] for row in rows) >= 0
    for (names_before, _), (names, _) in zip(before, after, strict=True):
        assert names == names_before
        assert names.count("dtimer-listener") == names.count("dtimer-wake") == 1
    for worker in workers:
        assert "could not be fired" not in worker.logs()
        assert "Traceback" not in "".join(line for line in worker.logs().splitlines() if "dtimer" in line)
    assert grown < GROWTH_ALLOWED


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_while_the_broker_is_away_what_runs_keeps_its_lease_and_what_waits_runs_elsewhere(
    proj, start_worker, healthy, broker, pool, timer, wait_for_records, wait_until_empty
):
    confirm_timeout = 1.0
    env = {"CONFIRM_TIMEOUT": str(confirm_timeout)}
    cut_off = start_worker(pool=pool, concurrency=2, name="cut_off", env=env, arguments=NO_HEARTBEAT)
    # Longer than the lease, several times over.
    posted = {proj.nap.post_in(0, 5.0).id for _ in range(6)}
    wait_for_records(2)
    wait_until(lambda: timer.count().leased == 2, "a worker with two slots to give back what it can't start")
    broker.kill()
    killed = time.time()
    healthy(concurrency=6, env=env)
    rows = wait_for_records(6, "end", timeout=30)
    assert cut_off.running
    # Celery hears of its tasks' results, and so acknowledges, when it is back in its loop: connected.
    broker.restart()
    wait_until_empty(60)
    starts = [row for row in proj.records() if row["event"] == "start"]
    assert {row["id"] for row in starts} == posted
    assert len(starts) == len(rows) == 6
    here = [row for row in rows if row["worker"].startswith("cut_off")]
    assert len(here) == 2
    elsewhere = [row["at"] for row in starts if row["worker"].startswith("healthy")]
    assert max(elsewhere) - killed < 10


def test_a_worker_whose_broker_is_away_ends_when_it_is_told_to_and_gives_back_what_it_has(
    proj, start_worker, healthy, broker, wait_for_records, wait_until_empty
):
    env = {"CONFIRM_TIMEOUT": "300"}
    worker = start_worker(concurrency=1, env=env, arguments=NO_HEARTBEAT)
    posted = {proj.nap.post_in(0, 2.0).id for _ in range(4)}
    wait_for_records(1)
    broker.kill()
    worker.wait_for_log("Connection to broker lost", timeout=20)
    worker.term()
    assert worker.wait() == 0
    started = [row["id"] for row in proj.records() if row["event"] == "start"]
    ended = [row["id"] for row in proj.records() if row["event"] == "end"]
    assert started == ended
    # What was released is no longer anybody's: under leases that last for minutes, another worker takes it at once.
    healthy(concurrency=4, env=env)
    rows = wait_for_records(4, "end", timeout=30)
    assert {row["id"] for row in rows} == posted
    assert len(rows) == 4
    wait_until_empty()


class TestTheTimersRedis:
    """The broker lives, and the timer's own server dies."""

    @pytest.fixture
    def broker_transport(self):
        return "redis"

    @pytest.fixture
    def timer_server(self, start_redis):
        return start_redis(options={"appendonly": "yes", "appendfsync": "always"})

    @pytest.fixture
    def timer_url(self, timer_server):
        return timer_server.url

    @pytest.mark.timeout(300)
    def test_it_is_killed_three_times_while_5000_events_fire_and_none_is_lost(
        self, proj, start_worker, timer_server, census, wait_until_empty
    ):
        env = {"CONFIRM_TIMEOUT": "10"}
        workers = [
            start_worker(concurrency=CONCURRENCY, name=name, app_module="census", env=env) for name in ("a", "b")
        ]
        assert proj.note.post_in(0, "warm").get(timeout=20)
        before = [(census(worker), worker.rss()) for worker in workers]
        posted = post_all(proj, 15)
        kills, across, away = [], [], 0.0
        for number in range(1, TIMER_KILLS + 1):
            enough = number * EVENTS // (TIMER_KILLS + 2)
            wait_until(lambda enough=enough: runs_of(proj) >= enough, f"{enough} records", 120)
            # One that runs on while the server is away: its confirm has to wait for the server's return.
            across.append(proj.nap.post_in(0, 1.0).id)
            wait_until(lambda: any(row["id"] == across[-1] for row in proj.records()), "the long task to run", 60)
            kills.append(time.time())
            timer_server.kill()
            wait_until(lambda: ends_of(proj, across[-1]) == 1, "the long task to end all the same", 20)
            timer_server.restart()
            away += time.time() - kills[-1]
        wait_until_empty(120)

        rows = [row for row in proj.records() if row["id"] in posted]
        counts = Counter(row["id"] for row in rows if row["event"] == "start")
        repeated, unexplained = duplicates_beside(rows, kills)
        lost = posted - set(counts)
        after = [(census(worker), worker.rss()) for worker in workers]
        grown = max(now - then for (_, then), (_, now) in zip(before, after, strict=True))
        print(
            f"{len(posted)} events, {len(kills)} kills, {away:.0f} s without the timer's Redis in all: {len(lost)} "
            f"lost, {len(repeated)} ran again; the larger worker grew by {grown / 1024:.0f} KiB"
        )
        assert not lost
        assert not unexplained
        assert len(repeated) <= len(kills) * CONCURRENCY * len(workers)
        # Their confirms were sent again: a lease that was not confirmed would have been redelivered.
        assert [ends_of(proj, task_id) for task_id in across] == [1] * len(across)
        assert min(row["at"] - row["due"] for row in rows) >= 0
        assert [names for names, _ in after] == [names for names, _ in before]
        # A busy worker may have nothing to say to Redis for as long as that is away, and miss it.
        failed, answers = "the timer's Redis failed", "the timer's Redis answers again"
        for worker in workers:
            wait_until(
                lambda worker=worker: times_said(worker, failed) == times_said(worker, answers), "the last recovery"
            )
        assert sum(times_said(worker, failed) for worker in workers) >= TIMER_KILLS
        assert grown < GROWTH_ALLOWED


def times_said(worker, words):
    return worker.logs().count(words)


def ends_of(proj, task_id):
    return sum(row["id"] == task_id and row["event"] == "end" for row in proj.records())
