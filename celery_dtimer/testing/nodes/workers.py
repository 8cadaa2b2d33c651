"""pytest-celery's worker as a process that a test may kill, freeze and ask to end."""

import signal

import psutil
from celery import Celery
from pytest_celery import CeleryTestWorker, CeleryWorkerContainer

from celery_dtimer.testing.nodes.containers import ProcessContainer
from celery_dtimer.testing.nodes.processes import NodeProcess
from celery_dtimer.testing.nodes.waiting import wait_until

READY = "ready."
START_TIMEOUT = 30.0  # seconds; a start takes one or two, and the machine may be busy


class WorkerNode(CeleryTestWorker):  # type: ignore[misc]  # it has no types
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
        return int(psutil.Process(self.pid).memory_info().rss)

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
        raw = self.container._container  # noqa: SLF001 - pytest_docker_tools wraps it
        if not isinstance(raw, ProcessContainer):
            raise TypeError(f"{self.name()} must be a local process, got {raw!r}")
        return raw

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
