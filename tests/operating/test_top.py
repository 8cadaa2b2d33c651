"""``top``: its frames, with a worker, without one, and while Redis is away."""

import io
import json
import os
import select
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console
from rig.recipes import IMPORTED
from rig.terminals import plain
from rig.waiting import wait_until

from celery_dtimer.extension import extension_of
from celery_dtimer.operating import frames
from celery_dtimer.operating.frames import Camera, Frame, WorkerRow, drawing, lines
from celery_dtimer.operating.gauges import Gauges, QueueGauges
from celery_dtimer.operating.printing import WIDTH, columns


@pytest.fixture
def frames_of(worker_app):
    """Starts ``top --json``, and gives a function that returns its next frame, and its process."""
    path = os.pathsep.join([IMPORTED, os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "proj", "dtimer", "top", "--json", "--every", "1"],
        cwd=worker_app.folder,
        env={**os.environ, "PYTHONPATH": path, **worker_app.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )

    def next_frame():
        assert select.select([process.stdout], [], [], 30)[0], "no frame for 30 s"
        return json.loads(process.stdout.readline())

    yield next_frame, process
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_top_counts_what_workers_do_and_ends_quietly_at_ctrl_c(note, start_worker, frames_of):
    start_worker(pool="threads", name="one")
    next_frame, process = frames_of
    first = next_frame()
    assert first["rates"] == {"posted": None, "fired": None, "confirmed": None}
    note.post_in(3600)
    for number in range(5):
        note.post_in(0, number)
    seen = []
    wait_until(lambda: seen.append(next_frame()) or seen[-1]["rates"]["fired"], "a frame in which something fired")
    last = seen[-1]
    assert last["rates"]["fired"] > 0
    assert last["lateness"]["p99"] >= last["lateness"]["p50"] >= 0
    # A frame asks the timer first, and then, for a second, the workers: the next one shows what those fired.
    assert next_frame()["timer"]["queues"]["celery"]["pending"] == 1
    [(name, worker)] = last["workers"].items()
    assert name.startswith("one@")
    assert (worker["state"], worker["queues"]) == ("fires", ["celery"])
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, b"")


def test_top_once_in_plain_text_and_json(quick, note):
    note.post_at(datetime.now(UTC) - timedelta(seconds=5))
    shown = quick("top", "--once")
    assert shown.exit_code == 0
    title, heads, celery, total, parked, oldest, rates, workers = shown.output.splitlines()
    assert title.endswith(" UTC")
    assert heads.split() == ["PENDING", "DUE", "OVERDUE", "LEASED", "QUEUE"]
    assert (celery.split(), total.split()) == (["1", "1", "1", "0", "celery"], ["1", "1", "1", "0", "total"])
    assert parked == "0 parked, 0 can't be read, 0 holds"
    assert oldest.startswith("the oldest overdue task has been due for ")
    assert rates == "posted -/s, fired -/s, confirmed -/s; late - at p50, - at p99"
    assert workers == "no worker with a timer answers"
    shown = quick("top", "--once", "--json")
    frame = json.loads(shown.output)
    assert (frame["error"], frame["workers"]) == (None, {})


@pytest.mark.slow
def test_the_live_view_leaves_the_terminal_as_it_was(on_terminal, note):
    note.post((), delay=3600, queue="letters")
    status, written = on_terminal("top", interrupt_at="no worker with a timer answers")
    assert status == 0
    assert "letters" in plain(written)
    assert written.rindex("\x1b[?1049l") > written.rindex("\x1b[?1049h")
    assert "Aborted" not in written
    assert "Traceback" not in written


def test_a_redis_that_is_away_is_told_and_found_again(make_app, start_redis):
    server = start_redis()
    camera = Camera(extension_of(make_app(dtimer_url=server.url)))
    assert camera.take().error is None
    server.kill()
    frame = camera.take()
    assert "did not answer" in frame.error
    assert (frame.gauges, frame.posted) == (None, None)
    assert "did not answer" in next(lines(frame))
    server.restart()
    wait_until(lambda: camera.take().error is None, "a frame of the Redis that is back")


def test_once_with_a_redis_that_is_away_has_status_1_and_no_traceback(quick, worker_app, start_redis):
    server = start_redis()
    worker_app.app.conf.dtimer_url = server.url
    server.kill()
    shown = quick("top", "--once")
    assert shown.exit_code == 1
    assert "did not answer" in shown.output


def test_rates_are_of_workers_that_answered_both_times_and_a_restart_begins_at_0():
    def report(fired):
        return {"queues": ["q"], "fired": fired, "confirmed": fired - 1}

    before = {"a": report(10), "b": report(50), "gone": report(5)}
    now = {"a": report(14), "b": report(3), "new": report(9)}
    counted = frames.deltas(before, now)
    assert {name: each["fired"] for name, each in counted.items()} == {"a": 4, "b": 3}
    assert frames._sum(counted) == {"fired": 7, "confirmed": 6, "cancelled": 0}
    rows = frames.worker_rows(now, counted, 2.0)
    assert (rows["a"].fired, rows["new"].fired) == (2.0, None)


@pytest.mark.parametrize(
    ("report", "state"),
    [
        ({"max_events": 8}, "fires"),
        ({"max_events": 8, "in_flight": 8}, "full"),
        ({"max_events": 8, "paused": True, "in_flight": 8}, "paused"),
        ({"max_events": 8, "redis": {"connected": False}}, "no redis"),
    ],
)
def test_the_state_of_a_worker(report, state):
    assert frames._state(report) == state


def test_a_frame_fits_a_terminal_and_nothing_in_it_forges_output():
    names = ["[red]x[/red]", "\x1b[2J", "two\nlines", "漢字" * 60, "x" * 500_000, *map(str, range(100))]
    queues = {name: QueueGauges(pending=10**9, due=10**9, overdue=10**9, leased=10**9, held=1) for name in names}
    row = WorkerRow("no redis", 10_000, 10_000, 12345.678, 1.0, 12.5, 3600.25, ["q"])
    gauges = Gauges(queues, 3, 4, 5, 1e6)
    frame = Frame(datetime.now(UTC), None, gauges, dict.fromkeys(names, row), 1.5, 99999.9, 3.0, 0.003, 12.5)
    broken = Frame(datetime.now(UTC), "[red]\x1b[2J\n" * 1000)
    for each in (frame, broken):
        shown = list(lines(each))
        assert all(line.isprintable() and columns(line) <= WIDTH for line in shown)
        file = io.StringIO()
        Console(file=file, width=WIDTH, force_terminal=True, color_system=None).print(drawing(each))
        drawn = file.getvalue().split("\n")
        assert all(line.isprintable() and columns(line) <= WIDTH for line in drawn)
        assert len(shown) <= len(drawn) < 60
    assert any("... and 91 more queues" in line for line in lines(frame))
    assert frame.as_dict()["at"] == frame.at.isoformat()


def test_a_broker_that_does_not_answer_is_left_alone_for_a_while(make_app, redis_url, monkeypatch):
    asked = []
    monkeypatch.setattr(frames, "timers_of_workers", lambda app: asked.append(time.monotonic()))
    camera = Camera(extension_of(make_app(dtimer_url=redis_url)))
    for _ in range(3):
        frame = camera.take()
        assert frame.workers is None
    assert len(asked) == 1
    assert list(lines(frame))[-1] == "the workers' numbers are unknown: the broker does not answer"
