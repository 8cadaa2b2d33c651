"""Processes that live by clocks of their own: a server, workers, listeners and posters."""

import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from rig.faketime import Clock
from rig.processes import NodeProcess
from rig.recipes import REPOSITORY
from rig.waiting import wait_until

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def takeover(monkeypatch):
    """The project's workers and the test itself give countdowns to the timer."""
    monkeypatch.setenv("TAKEOVER", "0.2")


@pytest.fixture
def make_clock(tmp_path):
    """Makes clocks, so many seconds ahead of the machine's."""
    with ExitStack() as clocks:

        def make(offset=0.0, name="clock"):
            clock = Clock(tmp_path / name, offset)
            clocks.callback(clock.close)
            return clock

        yield make


class ServerClock:
    """The clock of the timer's Redis.

    A server that was asked something less than a millisecond ago may answer by the old clock once more. That is a
    matter of libfaketime: by a real clock, none answers with an instant before the question.
    """

    def __init__(self, clock, server):
        self._clock, self._server = clock, server

    def step_to(self, offset):
        self._clock.step_to(offset)
        with self._server.client() as client:
            wait_until(lambda: abs(client.time()[0] - time.time() - offset) < 2, "the server's clock to be set")


@pytest.fixture
def server_clock(clock_of_server, server):
    return ServerClock(clock_of_server, server)


@pytest.fixture
def clock_of_server(make_clock):
    return make_clock(name="server")


@pytest.fixture
def server(clock_of_server, start_redis):
    """The timer's Redis, which lives by a clock of its own."""
    server = start_redis(environment=clock_of_server.environment)
    clock_of_server.used_by(server.pid)
    if "recursive calls to clock_gettime" in server.logs():
        pytest.fail(
            "this server can't be run under libfaketime: its allocator (jemalloc, in Debian's redis-server) asks for "
            "the time before libfaketime is ready. Leave DTIMER_TEST_SERVER unset, or let it name another server"
        )
    return server


@pytest.fixture
def server_now(server):
    """The instant by the server's clock, in seconds since 1970."""
    with server.client() as client:

        def now():
            seconds, microseconds = client.time()
            return seconds + microseconds / 1e6

        yield now


@pytest.fixture
def machine_time():
    """Turns an instant of the machine's monotonic clock into one of its wall clock."""
    since = time.time() - time.monotonic()
    return lambda monotonic: monotonic + since


class ListenerProcess:
    """A listener without Celery, and what it was given."""

    def __init__(self, url, log, clock, confirm_timeout, *, hold):
        arguments = [sys.executable, str(HERE / "listen.py"), url, str(confirm_timeout), *(["hold"] if hold else [])]
        environment = {"PYTHONPATH": str(REPOSITORY), **clock.environment}
        self.log = log
        self._process = NodeProcess(arguments, log, HERE, environment)
        clock.used_by(self._process.pid)
        self.kill = self._process.kill
        self.stop = self._process.stop

    @property
    def rows(self):
        """One a delivery."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


@pytest.fixture
def start_listener(tmp_path, make_clock):
    """Starts listeners whose clocks are so many seconds off."""
    with ExitStack() as listeners:

        def start(url, offset, confirm_timeout=1, *, hold=False):
            name = f"listener{offset:+}"
            clock = make_clock(offset, name)
            listener = ListenerProcess(url, tmp_path / f"{name}.log", clock, confirm_timeout, hold=hold)
            listeners.callback(listener.stop)
            return listener

        yield start
