"""``celery inspect dtimer`` and the commands that steer one worker."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from types import SimpleNamespace

import pytest
from celery.worker.control import Panel
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from rig.pools import pools
from rig.recipes import IMPORTED
from rig.waiting import wait_until

import celery_dtimer
from celery_dtimer.firing.inbox import Inbox, Prepared
from celery_dtimer.message import StoredMessage
from celery_dtimer.operating import control
from celery_dtimer.timer.events import Delivery


@pytest.fixture
def shell(worker_app):
    """Runs ``celery -A proj ...`` as the operator does."""

    def shell(*arguments):
        path = os.pathsep.join([IMPORTED, os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-m", "celery", "-A", "proj", *arguments],
            cwd=worker_app.folder,
            env={**os.environ, "PYTHONPATH": path, **worker_app.environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return shell


@pytest.fixture
def ask(proj):
    """Asks the workers, and returns the answers by the part of their name before the ``@``."""

    def ask(command, *, workers=1, destination=None, **arguments):
        replies = proj.app.control.broadcast(
            command, arguments=arguments, destination=destination, reply=True, timeout=5, limit=workers
        )
        return {name.partition("@")[0]: reply for each in replies or () for name, reply in each.items()}

    return ask


def test_inspect_shows_what_a_worker_has_done(proj, start_worker, ask, wait_until_empty, shell):
    start_worker(pool="threads", name="one", env={"MAX_EVENTS": "7"})
    results = [proj.note.post_in(0.1, number) for number in range(5)]
    for result in results:
        result.get(timeout=10)
    wait_until_empty()
    report = wait_until(lambda: (r := ask("dtimer"))["one"]["confirmed"] == 5 and r["one"], "five confirms")
    assert report["version"] == celery_dtimer.__version__
    assert (report["namespace"], report["queues"], report["max_events"]) == ("dt", ["celery"], 7)
    assert (report["in_flight"], report["waiting"], report["paused"]) == (0, 0, False)
    redis = report["redis"]
    assert (redis["connected"], redis["failing_for"]) == (True, 0.0)
    assert 0 <= redis["last_round"] < 10
    assert abs(redis["clock_offset"]) < 1
    assert report["settings"]["confirm_timeout"] == 10.0
    counted = {name: report[name] for name in ("posted", "fired", "redelivered", "parked", "cancelled")}
    assert counted == {"posted": 0, "fired": 5, "redelivered": 0, "parked": 0, "cancelled": 0}
    lateness = report["lateness"]
    assert lateness.pop("events") == 5
    assert 0 <= lateness["p50"] <= lateness["p95"] <= lateness["p99"] <= lateness["max"]
    told = shell("inspect", "dtimer", "--json")
    assert told.returncode == 0, told
    [answer] = json.loads(told.stdout).values()
    assert answer["fired"] == 5


@pytest.mark.parametrize("pool", pools("threads"))
def test_one_of_two_workers_is_paused_and_the_other_goes_on(
    proj, start_worker, ask, wait_for_records, wait_until_empty, pool
):
    for name in ("one", "two"):
        start_worker(pool=pool, name=name)
    one = next(name for name in proj.app.control.inspect().ping() if name.startswith("one@"))
    for _ in range(2):  # once more changes nothing
        assert "ok" in ask("dtimer_pause", destination=[one])["one"]
    answers = ask("dtimer", workers=2)
    assert (answers["one"]["paused"], answers["two"]["paused"]) == (True, False)
    for number in range(10):
        proj.note.post_in(0.1, number)
    assert {row["worker"].split("@")[0] for row in wait_for_records(10)} == {"two"}
    assert "ok" in ask("dtimer_pause", workers=2)["two"]
    waits = proj.note.post_in(0.1, "resumed")
    assert all(answer["paused"] for answer in ask("dtimer", workers=2).values())
    assert len(proj.records()) == 10
    assert ask("dtimer_resume", destination=[one])["one"] == {"ok": "it fires"}
    assert waits.get(timeout=10)
    assert wait_for_records(11)[-1]["worker"] == one
    wait_until_empty()


@pytest.mark.parametrize("broker_transport", ["redis node"])
@pytest.mark.slow
def test_a_pause_outlives_a_reconnect_to_the_broker(proj, start_worker, ask, celery_redis_broker, timer):
    worker = start_worker(pool="threads", name="one")
    assert "ok" in ask("dtimer_pause")["one"]
    celery_redis_broker.restart()
    worker.wait_for_log("still paused", timeout=30)
    proj.note.post_in(0, "waits")

    def paused():
        with suppress(RedisError, OperationalError):  # of a connection that is older than the broker
            return ask("dtimer")["one"]["paused"]

    wait_until(paused, "the answer after the reconnect")
    assert timer.count().pending == 1
    assert "ok" in wait_until(lambda: ask("dtimer_resume"), "the answer")["one"]
    wait_until(lambda: timer.count().pending == timer.count().leased == 0, "the run")


def test_max_events_is_set_until_it_is_restored(proj, start_worker, ask, shell, wait_for_records, wait_until_empty):
    start_worker(pool="threads", name="one", concurrency=4, env={"MAX_EVENTS": "7"})
    assert ask("dtimer_max_events", n=1)["one"] == {"ok": "max_events is 1"}
    for _ in range(3):
        proj.nap.post_in(0, 0.2)
    rows = wait_for_records(3)
    starts = sorted(row["monotonic"] for row in rows)
    assert all(later - earlier >= 0.2 for earlier, later in pairwise(starts))
    assert ask("dtimer")["one"]["max_events"] == 1
    for wrong in (-1, 1.5, True, "many", None, "x" * 500_000, "\x1b[2J\n<b>"):
        answer = ask("dtimer_max_events", n=wrong)["one"]["error"]
        assert answer.startswith("N must be a whole number from 0 on, got ")
        assert len(answer) < 200
        assert answer.isprintable()
    assert ask("dtimer")["one"]["max_events"] == 1
    told = shell("control", "dtimer_max_events", "many")
    assert "N must be a whole number from 0 on, got 'many'" in told.stdout + told.stderr
    assert "Traceback" not in told.stdout + told.stderr
    assert ask("dtimer_max_events", n=0)["one"] == {"ok": "max_events is 7"}
    wait_until_empty()


def test_a_worker_without_the_timer_says_so(ask):
    for name in ("dtimer", "dtimer_max_events", "dtimer_pause", "dtimer_resume"):
        answer = Panel.data[name](SimpleNamespace(consumer=SimpleNamespace()), n=1)
        assert answer == {"error": control.NO_TIMER}


def test_scheduled_shows_what_waits_in_the_inbox_in_celerys_own_form():
    inbox, huge = Inbox(), "\x1b[2J\n<b>" + "x" * 500_000
    headers = {"task": huge, "argsrepr": huge, "kwargsrepr": "{}"}
    for number, name in enumerate(("soon", "later")):
        delivery = Delivery(
            id=name, payload=b"", queue="celery", due_ms=number, redeliveries=1, max_redeliveries=1, key=b"", token="1"
        )
        message = StoredMessage(b"", "application/json", "utf-8", headers, routing_key="celery")
        inbox.put(Prepared(delivery, message, 9.0 - number))
    dispatcher = SimpleNamespace(claimed=lambda: sorted(inbox.waiting(), key=lambda entry: entry.delivery.due_ms))
    timer = SimpleNamespace(schedule=SimpleNamespace(queue=[]))
    consumer = SimpleNamespace(dtimer=SimpleNamespace(dispatcher=dispatcher), timer=timer)
    rows = Panel.data["scheduled"](SimpleNamespace(consumer=consumer, hostname="w@h"))
    assert [row["request"]["id"] for row in rows] == ["soon", "later"]
    assert rows[0]["eta"] == "1970-01-01T00:00:00+00:00"
    assert rows[0]["request"]["delivery_info"]["redelivered"]
    assert len(json.dumps(rows)) < 4000
    assert rows[0]["request"]["name"].isprintable()


def test_scheduled_shows_what_a_worker_has_claimed_and_the_rest_is_upcoming(proj, start_worker, timer):
    name = start_worker(pool="threads", name="one", concurrency=1).hostname()
    due = [proj.nap.post_in(0, 0.02).id for _ in range(400)]
    later = proj.nap.post_in(3600, 0.02)
    inspect = proj.app.control.inspect(destination=[name], timeout=5)

    def claimed():
        answers = inspect.scheduled() or {}
        return [row for row in answers.get(name, ()) if row["request"]["id"] in due]

    rows = wait_until(claimed, "an event that waits in the worker for a slot")
    # What waits there is little: events are claimed when they can be started soon.
    assert len(rows) <= 8
    assert rows[0]["request"]["name"] == "proj.nap"
    assert timer.peek(later.id).state.value == "pending"
    assert later.id in {event.id for event in timer.upcoming(limit=1000)}
    assert later.cancel()
    for event_id in due:
        timer.cancel(event_id)
