"""The metrics of real workers, read by Prometheus' own parser, and compared with the ledger of what ran."""

import os
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path

import psutil
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from rig.pools import POOLS
from rig.ports import HOST, free_port
from rig.recipes import IMPORTED
from rig.waiting import wait_until
from rig.workers import QUICK_START

from celery_dtimer import get_timer
from celery_dtimer.counters import MOST_QUEUES, NAMES, OTHERS
from celery_dtimer.extension import extension_of
from celery_dtimer.operating.gauges import read_gauges
from celery_dtimer.operating.labels import LONGEST, label
from celery_dtimer.operating.prometheus import TimerCollector
from celery_dtimer.posting.options import POSTING_OPTION
from celery_dtimer.posting.posting import Posting

QUEUES = ("celery", "other")


@pytest.fixture
def app_file():
    return Path(__file__).parent / "apps" / "metered.py"


@pytest.fixture
def start_metered(start_worker):
    """Starts a worker with an endpoint, and returns its port."""

    def start(name, **options):
        port = free_port()
        worker = start_worker(name=name, queues=",".join(QUEUES), env={"METRICS_PORT": str(port)}, **options)
        worker.wait_for_log(f"metrics are served on 127.0.0.1:{port}", timeout=10)
        return port

    return start


def scrape(port):
    """The samples of an endpoint: value by name and labels."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=10) as answer:
        return samples(answer.read().decode())


def samples(text):
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    values = {(sample.name, *sorted(sample.labels.items())): sample.value for sample in found}
    assert len(values) == len(found)  # Prometheus refuses duplicates
    return values


def count_of(values, name, queue):
    return values[f"celery_dtimer_events_{name}_total", ("queue", queue)]


def test_two_workers_agree_with_the_ledger_of_what_ran(proj, start_metered, wait_for_records, timer, wait_until_empty):
    ports = {name: start_metered(name, pool="prefork") for name in ("one", "two")}
    for port in ports.values():  # a rate rises from 0
        values = scrape(port)
        assert {count_of(values, name, queue) for name in NAMES[:6] for queue in QUEUES} == {0}
    for number in range(40):
        proj.note.post(delay=0.1 + number / 100, queue=QUEUES[number % 2])
    for _ in range(4):
        proj.requeue.post(delay=0.3, queue="other")
    refused = [proj.refuse.post(delay=0.3) for _ in range(3)]
    later = proj.note.post_in(100)
    rows = wait_for_records(40 + 8 + 3)

    def settled():
        found = {name: scrape(port) for name, port in ports.items()}
        ended = sum(
            count_of(found[name], what, queue) for name in ports for queue in QUEUES for what in ("confirmed", "parked")
        )
        return found if ended == 47 else None

    found = wait_until(settled, "44 confirmed and 3 parked")
    ledger = Counter((row["worker"].split("@")[0], row["queue"]) for row in rows)
    again = Counter((row["worker"].split("@")[0], row["queue"]) for row in rows if row["redeliveries"])
    late = Counter()
    for row in rows:
        late[row["worker"].split("@")[0], row["queue"]] += row["lateness"]
    for worker, values in found.items():
        for queue in QUEUES:
            assert count_of(values, "fired", queue) == ledger[worker, queue]
            assert count_of(values, "redelivered", queue) == again[worker, queue]
            of_queue = ("queue", queue)
            assert values["celery_dtimer_lateness_seconds_count", of_queue] == ledger[worker, queue]
            assert values["celery_dtimer_lateness_seconds_sum", of_queue] == pytest.approx(late[worker, queue])
            assert values["celery_dtimer_lateness_seconds_bucket", ("le", "3600"), of_queue] == ledger[worker, queue]
        assert values["celery_dtimer_in_flight",] == 0
        assert values["celery_dtimer_max_events",] == 8
        assert values["celery_dtimer_up",] == 1
        assert values["celery_dtimer_pending", ("namespace", "dt"), ("queue", "celery")] == 1
        assert values["celery_dtimer_due_within", ("namespace", "dt"), ("queue", "celery"), ("seconds", "300")] == 1
        assert values["celery_dtimer_parked", ("namespace", "dt")] == 3
    # A busy worker gives back what it has not started, too.
    assert sum(count_of(values, "released", "other") for values in found.values()) >= 4
    for name, queue, total in (("confirmed", "other", 24), ("parked", "celery", 3)):
        assert sum(count_of(values, name, queue) for values in found.values()) == total
    for result in (later, *refused):
        assert result.cancel()
    wait_until_empty()


@pytest.mark.slow
def test_the_processes_of_a_pool_do_not_keep_the_port(proj, start_worker, wait_for_records, wait_until_empty):
    port = free_port()
    once = (*QUICK_START, "--max-tasks-per-child=1")
    worker = start_worker(pool="prefork", concurrency=1, env={"METRICS_PORT": str(port)}, arguments=once)
    first = worker.pool_pids()
    proj.note.post_in(0)
    wait_for_records(1)
    [child] = wait_until(lambda: (pids := worker.pool_pids()) != first and pids, "a process that was forked later")

    def port_is_its_own():
        return port not in {listening.laddr.port for listening in psutil.Process(child).net_connections()}

    wait_until(port_is_its_own, "the child to close its copy")
    assert scrape(port)["celery_dtimer_up",] == 1
    wait_until_empty()


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_every_pool_serves_while_it_fires_and_until_it_ends(
    proj, start_worker, wait_for_records, wait_until_empty, pool
):
    port = free_port()
    worker = start_worker(pool=pool, env={"METRICS_PORT": str(port)})
    for _ in range(10):
        proj.note.post_in(0.1)
    wait_for_records(10)
    values = wait_until(lambda: (v := scrape(port)) and count_of(v, "confirmed", "celery") == 10 and v, "ten confirms")
    assert count_of(values, "fired", "celery") == 10
    wait_until_empty()
    worker.term()
    assert worker.wait() == 0
    with socket.create_server((HOST, port)):
        """The port is free."""


def test_a_worker_whose_port_is_taken_goes_on_without(proj, start_worker, wait_until_empty):
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        worker = start_worker(pool="threads", env={"METRICS_PORT": str(port)})
        worker.wait_for_log(f"no metrics are served on 127.0.0.1:{port}", timeout=10)
        result = proj.note.post_in(0)
        result.get(timeout=10)
        wait_until_empty()


def test_opentelemetry_measures_the_same_in_a_worker(proj, start_worker, wait_for_records):
    start_worker(pool="threads", env={"OTEL": "1"})
    for _ in range(5):
        proj.note.post_in(0.1)
    later = proj.note.post_in(30)
    rows = wait_for_records(5)

    def settled():
        found = proj.app.send_task("proj.look").get(timeout=10)
        return found if found["celery_dtimer.events.confirmed"][0]["value"] == 5 else None

    found = wait_until(settled, "five confirms")
    assert [point["value"] for point in found["celery_dtimer.events.fired"]] == [5]
    [lateness] = found["celery_dtimer.lateness"]
    assert lateness["attributes"] == {"queue": "celery"}
    assert (lateness["count"], lateness["sum"]) == (5, pytest.approx(sum(row["lateness"] for row in rows)))
    [within] = found["celery_dtimer.due_within_60"]
    assert (within["value"], within["attributes"]) == (1, {"queue": "celery", "namespace": "dt"})
    assert later.cancel()


def test_the_gauges_say_what_the_timer_holds(proj, timer, redis_client):
    registry = CollectorRegistry()
    registry.register(TimerCollector(extension_of(proj.app)))
    empty = samples(generate_latest(registry).decode())
    assert empty["celery_dtimer_oldest_overdue_seconds", ("namespace", "dt")] == 0
    assert not [name for name, *_ in empty if name == "celery_dtimer_pending"]
    posted = [proj.note.post(delay=delay, queue="idle") for delay in (0, 30, 200, 1000)]
    of_queue = (("namespace", "dt"), ("queue", "idle"))

    def overdue():
        values = samples(generate_latest(registry).decode())
        return values if values["celery_dtimer_overdue", *of_queue] else None

    values = wait_until(overdue, "an event that is overdue")
    names = ("pending", "due", "overdue", "leased")
    assert [values[f"celery_dtimer_{name}", *of_queue] for name in names] == [4, 1, 1, 0]
    assert [values["celery_dtimer_due_within", *of_queue, ("seconds", s)] for s in ("60", "300")] == [1, 2]
    assert 1 <= values["celery_dtimer_oldest_overdue_seconds", ("namespace", "dt")] < 30
    assert (values["celery_dtimer_held", *of_queue], values["celery_dtimer_holds", ("namespace", "dt")]) == (0, 0)
    timer.hold(queue="idle")
    timer.hold(task="proj.note")
    values = samples(generate_latest(registry).decode())
    assert (values["celery_dtimer_held", *of_queue], values["celery_dtimer_holds", ("namespace", "dt")]) == (1, 2)
    timer.resume(queue="idle")
    timer.resume(task="proj.note")
    for result in posted:
        assert result.cancel()
    redis_client.set("{dt:tasks:0}:promise", "no hash")
    values = samples(generate_latest(registry).decode())
    assert values == {("celery_dtimer_up",): 0}
    redis_client.delete("{dt:tasks:0}:promise")
    assert samples(generate_latest(registry).decode())["celery_dtimer_up",] == 1


def test_the_gauges_are_sums_over_shards_and_name_a_hundred_queues(make_app, redis_url):
    app = make_app(dtimer_url=redis_url, dtimer_shards=4, task_create_missing_queues=True)

    @app.task
    def note():
        """Wait."""

    posted = [note.post(delay=30, queue=f"queue-{number % 110:03}") for number in range(440)]
    gauges = read_gauges(extension_of(app).shards)
    assert sum(queue.pending for queue in gauges.queues.values()) == len(posted)
    assert sum(queue.due_within_60 for queue in gauges.queues.values()) == len(posted)
    assert len(gauges.queues) == MOST_QUEUES + 1
    assert gauges.queues[OTHERS].pending == 4 * 10
    timer = get_timer(app)
    assert timer.hold(queue="queue-000")
    assert read_gauges(extension_of(app).shards).queues["queue-000"].held == 1
    timer.resume(queue="queue-000")
    for result in posted:
        assert result.cancel()


class TestOutage:
    @pytest.fixture
    def server(self, start_redis):
        return start_redis(options={"appendonly": "yes"})

    @pytest.fixture
    def timer_url(self, server):
        return server.url

    def test_a_scrape_says_that_redis_is_down_and_does_not_wait_for_it(self, proj, start_metered, server):
        port = start_metered("one", pool="threads")
        assert scrape(port)["celery_dtimer_up",] == 1
        server.stop()

        def is_down():
            values = scrape(port)
            return values if values["celery_dtimer_redis_failing_seconds",] else None

        values = wait_until(is_down, "the listener to notice")
        assert values["celery_dtimer_up",] == 0
        assert "celery_dtimer_holds" not in {name for name, *_ in values}
        [answer] = proj.app.control.broadcast("dtimer", reply=True, timeout=5, limit=1)[0].values()
        assert not answer["redis"]["connected"]
        assert answer["redis"]["failing_for"] > 0
        server.start()
        wait_until(lambda: scrape(port)["celery_dtimer_up",] == 1, "Redis to be back")
        assert scrape(port)["celery_dtimer_redis_failing_seconds",] == 0


def test_a_hostile_name_is_a_short_label_of_its_own():
    names = ["\x1b[2J\n<b>", "x" * 500_000, "x" * 500_001, "é" * 80, "\ud800", 'a"b\\c']
    labels = [label(name) for name in names]
    assert len(set(labels)) == len(names)
    assert all(text.isprintable() and len(text) <= LONGEST + 9 for text in labels)
    assert label("celery") == "celery"


def test_hostile_messages_harm_neither_metrics_nor_logs_nor_inspect(proj, start_metered, timer, docker_client):
    names = ["\x1b[2J\x1b[31mred\n<script>", "y" * 400_000, 'quote" {le="1"} 5\\']
    hostile_queue = 'a"} 1\nceler\x1b[2Jy{b="'
    ids = [f"{number}-{names[0]}" for number in range(len(names))]
    for name, task_id in zip(names, ids, strict=True):
        posting = {POSTING_OPTION: Posting("in", 0)}
        proj.app.send_task(name, task_id=task_id, queue="celery", **posting)
    later = proj.note.post(delay=100, queue=hostile_queue)
    port = start_metered("one", pool="threads")
    values = wait_until(lambda: (v := scrape(port)) and count_of(v, "released", "celery") >= 3 and v, "three refusals")
    labels = [value for _, *pairs in values for pair in pairs for value in pair]
    assert all(text.isprintable() and len(text) <= LONGEST + 9 for text in labels)
    assert values["celery_dtimer_pending", ("namespace", "dt"), ("queue", label(hostile_queue))] == 1
    [answer] = proj.app.control.broadcast("dtimer", reply=True, timeout=5, limit=1)
    assert len(str(answer)) < 2000
    [node] = docker_client.containers.list()
    log = node.logs().decode()
    assert "\x1b[2J" not in log
    assert max(map(len, log.splitlines())) < 5000
    timer.hold(queue="celery")
    assert later.cancel()
    wait_until(lambda: all(timer.peek(task_id) is None or timer.cancel(task_id) for task_id in ids), "the cancels")
    timer.resume(queue="celery")


def test_nothing_is_imported_without_being_used():
    code = "import sys, celery_dtimer, celery_dtimer.operating.bootstep, celery_dtimer.operating.cli\n"
    # redis-py 8 imports OpenTelemetry itself.
    code += "print([name for name in sys.modules if 'prometheus' in name or name.endswith('operating.otel')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_worker_without_prometheus_client_does_not_start(proj, start_worker, worker_app):
    (Path(worker_app.folder) / "prometheus_client.py").write_text("raise ImportError")
    with pytest.raises(AssertionError, match=r"dtimer_metrics_port needs prometheus-client: pip install"):
        start_worker(pool="solo", env={"METRICS_PORT": str(free_port())})


def test_the_command_prints_them(worker_app, proj):
    result = proj.note.post_in(30)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([IMPORTED, os.environ.get("PYTHONPATH", "")]),
        **worker_app.environment,
    }
    told = [
        subprocess.run(
            [sys.executable, "-m", "celery", "-A", "proj", "dtimer", "metrics", *arguments],
            cwd=worker_app.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
        for arguments in ((), ("--json",))
    ]
    values = samples(told[0])
    assert values["celery_dtimer_pending", ("namespace", "dt"), ("queue", "celery")] == 1
    assert '"due_within_60": 1' in told[1]
    assert get_timer(proj.app).cancel(result.id)
