"""What keeps a page up to date: one look for all, none while nobody watches; a Redis that goes and comes; workers."""

import json
import re
import threading
import time
from contextlib import ExitStack

import httpx
import pytest
import uvicorn
from browser import Browser, text_of
from rig.ports import HOST, free_port
from rig.waiting import wait_until

import celery_dtimer
from celery_dtimer import get_timer
from celery_dtimer.web import console, live


@pytest.fixture
def served():
    """Serves an application on a port of its own; ends with the test."""
    with ExitStack() as servers:

        def served(application):
            port = free_port()
            config = uvicorn.Config(
                application, host=HOST, port=port, log_config=None, lifespan="off", timeout_graceful_shutdown=1
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, daemon=True)
            thread.start()
            servers.callback(thread.join, 10)
            servers.callback(setattr, server, "should_exit", True)
            wait_until(lambda: server.started, "a server that has started")
            return f"http://{HOST}:{port}"

        yield served


def looks_of(application):
    """The Watch of a console."""
    return application._app.state.desk.watch


def told(stream):
    """What the next event of a stream has."""
    return next(json.loads(line.removeprefix("data: ")) for line in stream if line.startswith("data: "))


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr(live, "PERIOD", 0.2)


def test_open_pages_share_one_look_and_it_ends_with_them(app, remind, served):
    application = console(app)
    watch, url = looks_of(application), served(application)
    with httpx.Client(timeout=30) as client, ExitStack() as pages:
        streams = [pages.enter_context(client.stream("GET", f"{url}/live")).iter_lines() for _ in range(20)]
        first = [told(stream) for stream in streams]
        assert {part for each in first for part in each["parts"]} == {
            "chart",
            "tiles",
            "soonest",
            "workers",
            "queues",
        }
        remind.post((1,), delay=600)
        assert (
            "1 pending"
            in next(each for each in iter(lambda: told(streams[0]), None) if "1 pending" in each["summary"])["summary"]
        )
        before, began = watch.looks, time.monotonic()
        wait_until(lambda: watch.looks >= before + 5, "five more looks")
        # With a look a page, there would be a hundred.
        assert watch.looks - before <= 3 + (time.monotonic() - began) / live.PERIOD
    wait_until(lambda: watch._poller is None, "nobody who looks")
    assert watch.looks == watch.looks


def test_a_redis_that_is_away_is_said_and_comes_back(make_app, start_redis, monkeypatch):
    monkeypatch.setattr(live, "ANSWER", 0.01)
    server = start_redis()
    app = make_app(dtimer_url=server.url)
    application = console(app)
    browser, watch = Browser(application), looks_of(application)
    assert browser.get("/").status_code == 200
    server.stop()
    time.sleep(live.PERIOD)  # the first page may be shown again until then
    for path in ("/", "/events", "/events/x", "/holds", "/events?state=parked"):
        answer = browser.get(path)
        assert answer.status_code == 503
        assert "The timer's Redis does not answer" in text_of(answer.text)
        assert 'data-away="1"' in answer.text
    assert "Redis does not answer." in text_of(browser.get("/health").text)
    with watch.watching("hour"):
        wait_until(lambda: watch.latest("hour")[1].error is not None, "an error that pages are told")
        server.start()
        wait_until(lambda: watch.latest("hour")[1].error is None, "a look that succeeds")
    assert browser.get("/").status_code == 200
    get_timer(app).count()


def test_workers_are_shown_with_their_state_version_and_lateness(proj, start_worker, wait_until_empty, monkeypatch):
    monkeypatch.setattr(live, "WORKERS_PERIOD", 0.5)
    start_worker(pool="threads", name="amber")
    for number in range(5):
        proj.note.post_in(0, number)
    wait_until_empty()
    browser = Browser(console(proj.app))
    # It holds nothing any more once it has read the answer to its last confirm.
    said = wait_until(
        lambda: " fires 0 of " in (page := text_of(browser.get("/").text)) and page, "a worker that is idle", 30
    )
    assert re.search(r"1 worker answers .* amber@", said)
    assert celery_dtimer.__version__ in said
    assert re.search(r"Late, median \d", said)


def test_a_worker_that_answers_nonsense_stops_no_page(app, monkeypatch):
    monkeypatch.setattr(live, "timers_of_workers", lambda *_, **__: {"odd@host": {"queues": 5, "in_flight": "many"}})
    assert "no worker could be asked" in text_of(Browser(console(app)).get("/").text)
