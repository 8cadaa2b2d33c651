"""Worker nodes that a test may kill, freeze and ask to end, and the factory that starts further ones."""

import signal
from collections.abc import Mapping, Sequence
from itertools import count

import psutil
from celery import Celery
from pytest_celery import CeleryTestWorker, CeleryWorkerContainer

from rig.containers import ProcessContainer, ProcessDocker
from rig.processes import NodeProcess
from rig.projects import WorkerApp
from rig.recipes import WORKER_IMAGE
from rig.waiting import wait_until

READY = "ready."
QUICK_START = ("--without-mingle",)  # mingling waits a whole second for answers
START_TIMEOUT = 30.0  # seconds; a start takes one or two, and the machine may be busy


class WorkerNode(CeleryTestWorker):
    """pytest-celery's worker, with the signals that only a process can be sent so exactly.

    ``kill()`` takes the worker and its pool children at once (SIGKILL); ``restart()`` starts it again, and
    returns when it is ready once more.
    """

    @classmethod
    def started(cls, container: ProcessContainer, app: Celery) -> "WorkerNode":
        """Wrap a container that was just started, and wait until the worker is ready."""
        worker = cls(CeleryWorkerContainer(container), app)
        worker._wait_until_ready(times=1)
        return worker

    @property
    def pid(self) -> int:
        """The id of the main process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the main process lives; a paused one does."""
        return self._process.running

    def hostname(self) -> str:
        """The worker's node name, as ``app.control`` and the events know it."""
        command = self._raw.command
        return command[command.index("-n") + 1].replace("%h", self._raw.hostname)

    def pool_pids(self) -> list[int]:
        """The ids of the living pool children: none but for prefork."""
        children = psutil.Process(self.pid).children(recursive=True)
        return [child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE]

    def rss(self) -> int:
        """Resident bytes of the main process."""
        return psutil.Process(self.pid).memory_info().rss

    def pause(self) -> None:
        """SIGSTOP to the worker and its children: alive, connected, and doing nothing."""
        self._process.pause()

    def resume(self) -> None:
        """SIGCONT after a ``pause``."""
        self._process.resume()

    def term(self) -> None:
        """SIGTERM to the main process: a warm shutdown. Returns at once; ``wait`` waits for the end."""
        self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        """Any signal, to the main process alone."""
        self._process.signal_main(number)

    def wait(self, timeout: float = 70.0) -> int:
        """Wait for the end of the main process and return its exit code (negative: the signal).

        Plain Celery's prefork pool takes more than half a minute for a warm shutdown now and then.

        Raises:
            subprocess.TimeoutExpired: It still ran after ``timeout`` seconds.
        """
        return self._process.wait(timeout)

    def restart(self, reload_container: bool = True, force: bool = False) -> None:
        """Start again, stopping it first if it runs.

        The log goes on over restarts, so pytest-celery's own restart would take the first start's "ready" for
        this one's.
        """
        starts = self.logs().count(READY)
        super().restart(reload_container, force)
        self._wait_until_ready(times=starts + 1)

    @property
    def _raw(self) -> ProcessContainer:
        return self.container._container

    @property
    def _process(self) -> NodeProcess:
        process = self._raw.process
        if process is None:
            raise LookupError(f"{self.name()} was never started")
        return process

    def _wait_until_ready(self, times: int) -> None:
        def settled() -> bool:
            return self.logs().count(READY) >= times or not self.running

        wait_until(settled, f"worker {self.name()} to be ready", START_TIMEOUT)
        if self.logs().count(READY) < times:
            raise AssertionError(f"worker {self.name()} ended before it was ready:\n{self.logs()}")


class WorkerStarter:
    """Starts workers for one test, and ends them with it; the fixture ``start_worker`` is one."""

    def __init__(self, docker: ProcessDocker, project: WorkerApp) -> None:
        self._docker = docker
        self._project = project
        self._started: list[ProcessContainer] = []
        self._numbers = count(1)

    def __call__(
        self,
        pool: str = "prefork",
        *,
        concurrency: int = 2,
        queues: str = "celery",
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        app_module: str | None = None,
        arguments: Sequence[str] = QUICK_START,
    ) -> WorkerNode:
        """Start a worker of the test's app and wait until it is ready.

        Args:
            pool: ``prefork``, ``threads``, ``solo``, ...
            concurrency: Of the pool; solo takes no notice.
            queues: Names, separated by commas.
            name: The part of the node name before the ``@``; ``w1``, ``w2``, ... unless given.
            env: On top of the app's environment.
            app_module: The module whose app is run, if not the test's own: one that was put into the folder
                of ``worker_app``.
            arguments: More of ``celery worker``'s options; by default those that make it start sooner.
        """
        name = name or f"w{next(self._numbers)}"
        command = ["celery", "-A", app_module or self._project.name, "worker", "--loglevel=INFO"]
        command += ["-n", f"{name}@%h", "-P", pool, "-c", str(concurrency), "-Q", queues, *arguments]
        container = self._docker.containers.run(
            WORKER_IMAGE,
            command=command,
            environment={"PYTHONUNBUFFERED": "1", **self._project.environment, **(env or {})},
            volumes={self._project.volume.name: {"bind": "/app"}},
        )
        self._started.append(container)
        return WorkerNode.started(container, self._project.app)

    @property
    def working(self) -> bool:
        """Whether one of the workers still runs."""
        return any(container.process is not None and container.process.running for container in self._started)

    def close(self) -> None:
        """End and reap every worker that was started, whatever its state."""
        for container in self._started:
            container.remove(force=True)
