"""A stand-in for docker-py's ``Container`` that is a local process; engine.py makes them."""

import io
import os
import shlex
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Any, NamedTuple

from docker.errors import APIError

from celery_dtimer.testing.nodes.node_utils import SESSION
from celery_dtimer.testing.nodes.ports import HOST, free_port, is_open
from celery_dtimer.testing.nodes.processes import GRACE, NodeProcess
from celery_dtimer.testing.nodes.recipes import Recipe

NETWORK = "loopback"

#: Seconds that a command in a node may take.
COMMAND_TIMEOUT = 30


class ExecResult(NamedTuple):
    """What docker-py answers to ``exec_run``."""

    exit_code: int
    output: bytes


class ProcessContainer:
    """Behaves like a ``docker.models.containers.Container``, as far as pytest-celery looks.

    Args:
        image: The name of its image.
        recipe: How that runs here.
        home: An empty folder, removed with it.
        folder: Where its command runs; None: at home.
        forget: Called with it when it is removed.
        command: Docker's CMD: words, or one text.
        environment: On top of the inherited one.
        ports: Of the container, each with the one outside; None: any.
        labels: Docker's.
        name: Docker's; made up unless given.
    """

    def __init__(
        self,
        image: str,
        recipe: Recipe,
        *,
        home: Path,
        folder: Path | None,
        forget: "Callable[[ProcessContainer], None]",
        command: str | list[str] | None = None,
        environment: Mapping[str, str] | None = None,
        ports: Mapping[str, int | None] | None = None,
        labels: Mapping[str, str] | None = None,
        name: str | None = None,
        **_options: object,
    ) -> None:
        self.id = uuid.uuid4().hex
        self.name = name or f"process-{self.id[:12]}"
        self.image = image
        self.labels = dict(labels or {})
        self.command = shlex.split(command) if isinstance(command, str) else list(command or [])
        self.environment = dict(environment or {})
        self.host_ports = {inside: outside or free_port() for inside, outside in (ports or {}).items()}
        self.home = home
        self.folder = folder or home
        self.log = home / "log"
        self.log.touch()
        self.process: NodeProcess | None = None
        self._recipe = recipe
        self._forget = forget

    @property
    def hostname(self) -> str:
        """What ``%h`` stands for in a worker's name: unlike this machine's, it differs from node to node."""
        return self.id[:12]

    @property
    def status(self) -> str:
        """Docker's word for the state of the process."""
        if self.process is None:
            return "created"
        return "running" if self.process.running else "exited"

    @property
    def attrs(self) -> dict[str, Any]:
        """The parts of ``docker inspect`` that are read."""
        bindings = {inside: [{"HostIp": HOST, "HostPort": str(port)}] for inside, port in self.host_ports.items()}
        # The vendors build the URL that the *other* nodes use as prefix + Hostname, without a port.
        address = next((f"{HOST}:{port}" for port in self.host_ports.values()), self.hostname)
        return {
            "Config": {
                "Hostname": address,
                "Labels": self.labels,
                "Env": [f"{name}={value}" for name, value in self._environment().items()],
            },
            "HostConfig": {"PortBindings": bindings},
            "NetworkSettings": {"Networks": {NETWORK: {"IPAddress": HOST}}, "Ports": bindings},
            "State": {"Pid": self._live.pid if self.process else 0},
        }

    def start(self) -> None:
        """Start the node's command; what it writes is added to the log of earlier starts."""
        self.process = NodeProcess(self._recipe.argv(self), self.log, self.folder, self._environment())

    def reload(self) -> None:
        """Nothing to fetch: what is asked is looked up at once."""

    def kill(self, signal: str | int | None = None) -> None:
        """Send a signal: SIGKILL (which is the default) to all of the node, any other to its main process.

        Raises:
            APIError: The node does not run, as docker answers.
        """
        number = signal_number(signal)
        if not self._live.running:
            raise APIError(f"{self.name} is not running")
        if number == SIGKILL:
            self._live.kill()
        else:
            self._live.signal_main(number)

    def stop(self, timeout: float = GRACE) -> None:
        """SIGTERM, and SIGKILL after ``timeout`` seconds."""
        if self.process is not None:
            self.process.stop(timeout)

    def restart(self, timeout: float = GRACE) -> None:
        """Stop and start again: the same folder, log, ports and name."""
        self.stop(timeout)
        self.start()

    def wait(self, timeout: float = GRACE, **_options: object) -> dict[str, int]:
        """Wait for the end of the main process."""
        return {"StatusCode": self._live.wait(timeout)}

    def remove(self, *, force: bool = False, **_options: object) -> None:
        """End the node without asking, reap it and remove what it wrote.

        Raises:
            APIError: It runs, and ``force`` was not given.
        """
        if self.status == "running":
            if not force:
                raise APIError(f"{self.name} is running")
            self._live.kill()
        shutil.rmtree(self.home, ignore_errors=True)
        self._forget(self)

    def logs(self, **_options: object) -> bytes:
        """All that the node has written, over all its starts."""
        return self.log.read_bytes() if self.log.exists() else b""

    def exec_run(self, command: str | list[str], **_options: object) -> ExecResult:
        """Run a command in the node's folder and environment."""
        argv = shlex.split(command) if isinstance(command, str) else list(command)
        if argv[0] == "cat" and all(path.startswith("/proc/net/") for path in argv[1:]):
            return ExecResult(0, self._listening_sockets())
        done = subprocess.run(  # noqa: S603 - what the tests ask for
            self._recipe.program(argv),
            cwd=self.folder,
            env={**self._environment(), SESSION: str(self._live.pid)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
        return ExecResult(done.returncode, done.stdout)

    def get_archive(self, path: str) -> tuple[Iterator[bytes], dict[str, object]]:
        """The node's folder as a tar archive, whatever path inside of a container was asked for."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(self.folder, arcname=Path(path).name)
        return iter([packed.getvalue()]), {}

    def put_archive(self, _path: str, data: io.BytesIO) -> bool:
        """Unpack into the node's folder; pytest_docker_tools fills volumes in this way."""
        with tarfile.open(fileobj=data) as archive:
            archive.extractall(self.folder, filter="data")
        return True

    @property
    def _live(self) -> NodeProcess:
        if self.process is None:
            raise APIError(f"{self.name} was never started")
        return self.process

    def _environment(self) -> dict[str, str]:
        # CELERY_* of the shell would configure the workers under test, DOCKER_* could reach a real engine.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CELERY_", "DOCKER_"))}
        return {**inherited, **self._recipe.environment(self)}

    def _listening_sockets(self) -> bytes:
        """A ``/proc/net/tcp`` of the node's own: the ports inside of the container whose process accepts."""
        lines = ["  sl  local_address rem_address   st"]
        for inside, outside in self.host_ports.items():
            if is_open(outside):
                lines.append(f"   0: 0100007F:{int(inside.split('/')[0]):04X} 00000000:0000 0A")
        return "\n".join(lines).encode()


def signal_number(given: str | int | None) -> int:
    """Docker takes ``None``, ``"SIGTERM"``, ``"TERM"`` and ``15``."""
    if given is None:
        return SIGKILL
    if isinstance(given, str) and not given.isdigit():
        return Signals[given if given.startswith("SIG") else f"SIG{given}"]
    return Signals(int(given))
