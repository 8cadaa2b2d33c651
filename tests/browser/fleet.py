"""A fleet to look at: a Redis, a worker, what waits in the timer, and web consoles in processes of their own."""

import os
import secrets
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rig.ports import HOST, free_port, is_open
from rig.processes import NodeProcess
from rig.projects import WorkerApp, loaded_project
from rig.recipes import IMPORTED, recipes
from rig.servers import RedisServer
from rig.waiting import wait_until
from rig.workers import WorkerStarter

from celery_dtimer import get_timer
from celery_dtimer.testing.nodes.engine import ProcessDocker

HERE = Path(__file__).parent
START_TIMEOUT = 30.0  # seconds; a start takes one or two, and the machine may be busy


class Console:
    """A web console in a process of its own."""

    def __init__(self, process: NodeProcess, port: int, token: str | None) -> None:
        self.process = process
        self.origin = f"http://{HOST}:{port}"
        self.token = token
        #: Of one who has signed in, as Playwright stores it.
        self.session = None

    def logs(self) -> str:
        """What it has written."""
        return self.process.log.read_text(errors="replace")


class Fleet:
    """The project ``shop.py`` over one Redis, with its workers and consoles; all end with it."""

    def __init__(self, server: RedisServer, project: WorkerApp, workers: WorkerStarter, stack: ExitStack) -> None:
        self.server = server
        self.shop = project.module
        self.timer = get_timer(project.app)
        self.start_worker = workers
        self._project = project
        self._stack = stack
        #: Ids of the events that attack, by their texts.
        self.hostile: dict[str, str] = {}

    def start_console(self, *options: str, token: str | None = None) -> Console:
        """Run ``celery -A proj dtimer web`` on a port of its own, and wait until it listens."""
        port = free_port()
        argv = [sys.executable, "-m", "celery", "-A", self._project.name, "dtimer", "web"]
        argv += ["--host", HOST, "--port", str(port), *options, *(["--token", token] if token else [])]
        path = os.pathsep.join([str(self._project.folder), IMPORTED])
        environment = {**os.environ, **self._project.environment, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        log = self._project.folder / f"console-{port}.log"
        process = NodeProcess(argv, log, self._project.folder, environment)
        self._stack.callback(process.stop)
        console = Console(process, port, token)
        wait_until(lambda: is_open(port) or not process.running, "the console to listen", START_TIMEOUT)
        if not process.running:
            raise AssertionError(f"the console ended before it listened:\n{console.logs()}")
        return console

    def start_writing_console(self) -> Console:
        """Start one that lets those who know its token change things."""
        return self.start_console("--allow-writes", token=secrets.token_hex(16))


@contextmanager
def running_fleet(**server_options: str) -> Iterator[Fleet]:
    """A Redis and the project, without any worker or console yet."""
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer(options=server_options))
        docker = ProcessDocker(recipes())
        stack.callback(docker.close)
        volume = docker.volumes.create(f"project-{uuid.uuid4()}")
        environment = {
            "BROKER_URL": server.url_of(1),
            "RESULT_BACKEND": server.url_of(2),
            "DTIMER_URL": server.url,
        }
        project = stack.enter_context(loaded_project(volume, HERE / "shop.py", environment))
        workers = WorkerStarter(docker, project)
        stack.callback(workers.close)
        yield Fleet(server, project, workers, stack)


def sign_in(page, console: Console, name: str = "ann") -> None:
    """Give the token, as a person does."""
    page.goto(f"{console.origin}/login")
    page.locator("[name=token]").fill(console.token)
    page.locator("[name=name]").fill(name)
    page.locator("[name=token]").press("Enter")
    page.wait_for_url(f"{console.origin}/")
