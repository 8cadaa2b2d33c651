"""The factory that starts workers which a test may kill, freeze and ask to end."""

from collections.abc import Mapping, Sequence
from itertools import count

from celery_dtimer.testing.nodes.containers import ProcessContainer
from celery_dtimer.testing.nodes.engine import ProcessDocker
from celery_dtimer.testing.nodes.recipes import WORKER_IMAGE
from celery_dtimer.testing.nodes.workers import WorkerNode
from rig.projects import WorkerApp

QUICK_START = ("--without-mingle",)  # mingling waits a whole second for answers


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
        python: str | None = None,
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
            python: Another interpreter than that of the tests.
        """
        name = name or f"w{next(self._numbers)}"
        celery = ["celery"] if python is None else [python, "-m", "celery"]
        command = [*celery, "-A", app_module or self._project.name, "worker", "--loglevel=INFO"]
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
