"""A real RabbitMQ node for tests: found, started, killed and ended, without touching the machine's own."""

import base64
import http.client
import json
import os
import shutil
from pathlib import Path
from typing import Self

from rig.local_server import LocalServer, ServerNotFoundError
from rig.ports import HOST, free_port, is_open
from rig.processes import NodeProcess
from rig.waiting import wait_until

OVERRIDE = "DTIMER_TEST_RABBITMQ"
START_TIMEOUT = 60.0  # seconds; a start takes about seven, and the machine may be busy

# The script itself. Debian's /usr/sbin/rabbitmq-server is a wrapper of it that asks for the user rabbitmq, and
# reads the configuration of the machine's own node.
SCRIPTS = ("rabbitmq/bin/rabbitmq-server", "rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server")
LIBRARIES = (Path("/usr/lib"), Path("/usr/local/lib"), Path("/opt"))

WHAT_TO_INSTALL = (
    "RabbitMQ is not installed: on Debian and Ubuntu, apt-get install rabbitmq-server (the machine's own node "
    f"need not run); elsewhere let {OVERRIDE} name its script sbin/rabbitmq-server"
)


def rabbitmq_script() -> Path:
    """The script that starts a node: the one that ``DTIMER_TEST_RABBITMQ`` names, or the package's.

    Raises:
        ServerNotFoundError: There is none; the text says what to install.
    """
    chosen = os.environ.get(OVERRIDE)
    found = [Path(chosen)] if chosen else [path for lib in LIBRARIES for each in SCRIPTS for path in lib.glob(each)]
    for path in found:
        if path.is_file() and os.access(path, os.X_OK):
            return path
    raise ServerNotFoundError(WHAT_TO_INSTALL)


def epmd_program() -> str:
    """Erlang's port mapper, which comes with it.

    Raises:
        ServerNotFoundError: It is not on the path.
    """
    found = shutil.which("epmd")
    if found is None:
        raise ServerNotFoundError(f"Erlang's epmd is not on the path. {WHAT_TO_INSTALL}")
    return found


class RabbitServer(LocalServer):
    """One node on loopback ports of its own, with its data in a folder that a ``restart`` finds again.

    Its epmd is a process of ours too: one that the node started itself would outlive it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._epmd: NodeProcess | None = None
        self._node: NodeProcess | None = None
        self._ports: dict[str, int] = {}

    def url_of(self, vhost: str) -> str:
        """The URL of one of the node's virtual hosts."""
        return f"amqp://guest:guest@{HOST}:{self._ports['node']}/{vhost}"

    @property
    def running(self) -> bool:
        """Whether the node's process lives."""
        return self._node is not None and self._node.running

    def start(self) -> Self:
        """Start the node, and wait until clients can use it.

        Raises:
            ServerNotFoundError: RabbitMQ is not installed.
            ServerStartError: It ended or did not answer; its log is the message.
        """
        script, epmd = rabbitmq_script(), epmd_program()
        if not self._ports:
            self._make_home()
            self._ports = {name: free_port() for name in ("node", "dist", "epmd", "management")}
            (self._home / "plugins").write_text("[rabbitmq_management].\n", encoding="utf-8")
            (self._home / "rabbitmq.conf").write_text(self._configuration(), encoding="utf-8")
        if self._epmd is None or not self._epmd.running:
            port = str(self._ports["epmd"])
            self._epmd = NodeProcess([epmd, "-address", HOST, "-port", port], self._home / "epmd.log", self._home)
            wait_until(lambda: is_open(int(port)), "epmd to listen")
        self._node = NodeProcess([str(script)], self._log, self._home, self._environment())
        wait_until(lambda: not self.running or self._answers(), "RabbitMQ to answer", START_TIMEOUT)
        if not self.running:
            raise self._give_up("RabbitMQ")
        return self

    def kill(self) -> None:
        """SIGKILL to the node: connections break, and what was not on disk is lost."""
        if self._node is not None:
            self._node.kill()

    def restart(self) -> None:
        """Start again at the same address with the same data, killing it first if it runs."""
        self.kill()
        self.start()

    def add_vhost(self, name: str) -> None:
        """Make an empty virtual host."""
        self._call("PUT", f"/api/vhosts/{name}")

    def delete_vhost(self, name: str) -> None:
        """Remove a virtual host with all its queues; its connections are closed."""
        self._call("DELETE", f"/api/vhosts/{name}")

    def queue_types(self, vhost: str) -> dict[str, str]:
        """The queues of a virtual host and what they are: ``classic`` or ``quorum``."""
        found = json.loads(self._call("GET", f"/api/queues/{vhost}?disable_stats=true"))
        return {queue["name"]: queue["type"] for queue in found}

    def end(self) -> None:
        """End the node and its epmd; nothing of it is worth an orderly end."""
        for process in (self._node, self._epmd):
            if process is not None and process.running:
                process.kill()
        self._node = self._epmd = None
        self._ports = {}

    def _configuration(self) -> str:
        lines = {
            "management.tcp.ip": HOST,
            "management.tcp.port": self._ports["management"],
            # A test machine's disk may be nearly full, and a node that blocks its publishers looks like a defect.
            "disk_free_limit.absolute": "1MB",
            "vm_memory_high_watermark.relative": "0.9",
        }
        return "".join(f"{name} = {value}\n" for name, value in lines.items())

    def _environment(self) -> dict[str, str]:
        home = self._home
        own = {
            "HOME": str(home),  # the place of Erlang's cookie
            "RABBITMQ_CONF_ENV_FILE": os.devnull,  # not the settings of the machine's own node
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            "RABBITMQ_NODENAME": f"rig{self._ports['node']}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self._ports["node"]),
            "RABBITMQ_DIST_PORT": str(self._ports["dist"]),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "logs"),
            "RABBITMQ_LOGS": "-",
            # Two schedulers are plenty, and a busy-waiting one would take a processor from the workers.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
            "ERL_EPMD_PORT": str(self._ports["epmd"]),
            "ERL_EPMD_ADDRESS": HOST,
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return {**inherited, **own}

    def _answers(self) -> bool:
        if not is_open(self._ports["node"]):
            return False
        try:
            # Queues come up after the listeners do: a node says "ok" here when it has booted.
            self._call("GET", "/api/health/checks/virtual-hosts")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def _call(self, method: str, path: str) -> bytes:
        connection = http.client.HTTPConnection(HOST, self._ports["management"], timeout=10)
        try:
            login = base64.b64encode(b"guest:guest").decode()
            connection.request(method, path, headers={"Authorization": f"Basic {login}"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise http.client.HTTPException(f"{method} {path}: {answer.status} {body!r}")
        return body
