"""A stand-in for ``docker.DockerClient`` whose containers are local processes.

pytest-celery makes every node by a factory of pytest_docker_tools, and each of those is given the fixture
``docker_client``. So this is the one seam at which its workers, brokers and backends become processes, and
nothing of pytest-celery itself has to be replaced. Only what those two packages call is here.
"""

import io
import os
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Any, NamedTuple

from docker.errors import APIError, NotFound

from rig.ports import HOST, free_port, is_open
from rig.processes import GRACE, NodeProcess
from rig.recipes import recipe_for

NETWORK = "loopback"


class ExecResult(NamedTuple):
    """What docker-py answers to ``exec_run``."""

    exit_code: int
    output: bytes


class ProcessContainer:
    """Behaves like a ``docker.models.containers.Container``, as far as pytest-celery looks."""

    def __init__(
        self,
        client: "ProcessDocker",
        image: str,
        *,
        command: str | list[str] | None = None,
        environment: Mapping[str, str] | None = None,
        ports: Mapping[str, int | None] | None = None,
        volumes: Mapping[str, object] | None = None,
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
        self.home = Path(tempfile.mkdtemp(prefix="node-", dir=client.root))
        # A bind target such as /app is no path of this machine: the volume's folder is where the node works.
        bound = [client.volumes.get(volume).path for volume in volumes or ()]
        self.folder = bound[-1] if bound else self.home
        self.log = self.home / "log"
        self.log.touch()
        self.process: NodeProcess | None = None
        self._client = client
        self._recipe = recipe_for(image)

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
        self._client.containers.forget(self)

    def logs(self, **_options: object) -> bytes:
        """All that the node has written, over all its starts."""
        return self.log.read_bytes() if self.log.exists() else b""

    def exec_run(self, command: str | list[str], **_options: object) -> ExecResult:
        """Run a command in the node's folder and environment."""
        argv = shlex.split(command) if isinstance(command, str) else list(command)
        if argv[0] == "cat" and all(path.startswith("/proc/net/") for path in argv[1:]):
            return ExecResult(0, self._listening_sockets())
        environment = {**self._environment(), "RIG_NODE_SESSION": str(self._live.pid)}
        done = subprocess.run(
            self._recipe.program(argv),
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=30,
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


class Volume:
    """A folder."""

    def __init__(self, owner: "Volumes", name: str, path: Path) -> None:
        self.name = self.id = name
        self.path = path
        self.attrs: dict[str, Any] = {"Labels": {}}
        self._owner = owner

    def remove(self, *_arguments: object) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._owner.forget(self)


class Volumes:
    """``docker_client.volumes``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._volumes: dict[str, Volume] = {}

    def create(self, name: str, **_options: object) -> Volume:
        """Make an empty folder."""
        made = Volume(self, name, Path(tempfile.mkdtemp(prefix="volume-", dir=self._root)))
        self._volumes[name] = made
        return made

    def get(self, name: str) -> Volume:
        """The volume of that name.

        Raises:
            NotFound: There is none.
        """
        try:
            return self._volumes[name]
        except KeyError:
            raise NotFound(f"no volume {name}") from None

    def forget(self, volume: Volume) -> None:
        """A removed volume takes itself off the list."""
        self._volumes.pop(volume.name, None)


class Network:
    """A name; all nodes share the loopback interface."""

    def __init__(self, name: str) -> None:
        self.name = self.id = name
        self.attrs: dict[str, Any] = {"Labels": {}}

    def remove(self) -> None:
        """There is nothing to take down."""


class Networks:
    """``docker_client.networks``."""

    def create(self, name: str, **_options: object) -> Network:
        """Only the name is of use."""
        return Network(name)


class Image(NamedTuple):
    """Its name, from which the recipe is found."""

    id: str


class Images:
    """``docker_client.images``: names and nothing more."""

    def build(self, path: str, tag: str | None = None, **_options: object) -> tuple[Image, Iterator[object]]:
        """Nothing is built: the interpreter of the tests has all that a Dockerfile would install."""
        return Image(tag or Path(path).name), iter(())

    def get(self, name: str) -> Image:
        """Every name is an image; what has no recipe fails when it is started."""
        return Image(name)

    def pull(self, repository: str, tag: str | None = None, **_options: object) -> Image:
        """Nothing is fetched."""
        return Image(repository if tag is None else f"{repository}:{tag}")


class Containers:
    """``docker_client.containers``."""

    def __init__(self, client: "ProcessDocker") -> None:
        self._client = client
        self._containers: list[ProcessContainer] = []

    def create(self, image: str | Image, **options: Any) -> ProcessContainer:
        """Make a node without starting it."""
        made = ProcessContainer(self._client, image.id if isinstance(image, Image) else image, **options)
        self._containers.append(made)
        return made

    def run(self, image: str | Image, **options: Any) -> ProcessContainer:
        """Make a node and start it."""
        options.pop("detach", None)
        made = self.create(image, **options)
        made.start()
        return made

    def list(self, **_options: object) -> list[ProcessContainer]:
        """All nodes that were not removed, in the order in which they were made."""
        return list(self._containers)

    def get(self, name: str) -> ProcessContainer:
        """The node of that name.

        Raises:
            NotFound: There is none.
        """
        for container in self._containers:
            if container.name == name:
                return container
        raise NotFound(f"no container {name}")

    def forget(self, container: ProcessContainer) -> None:
        """A removed node takes itself off the list."""
        if container in self._containers:
            self._containers.remove(container)


class ProcessDocker:
    """The client itself; closing it ends every node that is left and removes all folders."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="nodes-"))
        self.images = Images()
        self.volumes = Volumes(self.root)
        self.networks = Networks()
        self.containers = Containers(self)

    def close(self) -> None:
        """End, reap and remove all that is left."""
        for container in self.containers.list():
            container.remove(force=True)
        shutil.rmtree(self.root, ignore_errors=True)
