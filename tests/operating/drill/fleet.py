"""What the drill is about: a server, two workers, what they ran, and the commands of an operator."""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from rig.outsider import Outsider
from rig.processes import NodeProcess
from rig.servers import RedisServer
from rig.waiting import wait_until

HERE = Path(__file__).resolve().parent


class Run(NamedTuple):
    """A task that ran."""

    id: str
    queue: str
    due: float
    at: float


@dataclass(frozen=True)
class Command:
    """A command that was typed.

    Attributes:
        words: Behind ``celery dtimer``.
        status: Its exit status.
        answer: Its answer, in JSON.
        own: Seconds that it took itself.
        whole: Seconds that the process took: the start of Python and Celery included.
        begun: When it was typed.
        ended: When it had answered.
    """

    words: tuple[str, ...]
    status: int
    answer: Any
    own: float
    whole: float
    begun: float
    ended: float


class Fleet:
    """Use it as a context manager.

    Attributes:
        timer: The app's timer, for what is stored before the drill begins.
        module: The app's module.
        commands: The commands that were typed.
    """

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self._stack = ExitStack()
        self._workers: list[NodeProcess] = []

    def __enter__(self) -> Self:
        server = self._server = self._stack.enter_context(RedisServer())
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="drill-")))
        self._runs = self._folder / "runs"
        self._runs.touch()
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE), *map(str, HERE.parents[:4]), os.environ.get("PYTHONPATH", "")]),
            "DRILL_BROKER": server.url_of(1),
            "DRILL_TIMER": server.url_of(0),
            "DRILL_RUNS": str(self._runs),
        }
        os.environ.update({k: v for k, v in self._environment.items() if k.startswith("DRILL_")})
        import drill_app  # it reads the environment

        self.module: Any = drill_app
        self.timer = Outsider(server.url_of(0))
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()
        self._stack.close()

    def go_first(self) -> None:
        """Let the server, and from now on the workers and the commands, have the processors before all else.

        Raises:
            PermissionError: This user may not.
        """
        for pid in (0, self._server.pid):
            os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))

    def start_worker(self, name: str, queues: str, concurrency: int) -> None:
        """Start a worker; it may need seconds until it is ready."""
        argv = [sys.executable, "-m", "celery", "-A", "drill_app", "worker", "-n", f"{name}@drill", "-l", "WARNING"]
        argv += ["-P", "threads", "-c", str(concurrency), "-Q", queues, "--without-mingle", "--without-gossip"]
        self._workers.append(NodeProcess(argv, self._folder / f"{name}.log", self._folder, self._environment))

    def wait_for_workers(self) -> None:
        """Wait until they listen.

        Raises:
            RuntimeError: One of them has ended.
        """
        inspect = self.module.app.control.inspect(timeout=1.0)

        def ready() -> bool:
            if not all(worker.running for worker in self._workers):
                raise RuntimeError("\n".join(worker.log.read_text() for worker in self._workers))
            return len(inspect.ping() or ()) == len(self._workers)

        wait_until(ready, "the workers to be ready", 60)

    def type(self, *words: str) -> Command:
        """Run ``celery dtimer`` with these words, as an operator does, but for the JSON."""
        clock = self._folder / "clock"
        begun, start = time.time(), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "celery", "-A", "drill_app", "dtimer", *words, "--json"],
            env={**self._environment, "DRILL_CLOCK": str(clock)},
            capture_output=True,
            text=True,
            check=False,
        )
        whole = time.perf_counter() - start
        try:
            answer, own = json.loads(done.stdout), float(clock.read_text())
        except (ValueError, OSError):
            raise RuntimeError(f"celery dtimer {' '.join(words)}: {done.stdout}{done.stderr}") from None
        self.commands.append(Command(words, done.returncode, answer, own, whole, begun, time.time()))
        return self.commands[-1]

    def runs(self) -> list[Run]:
        """What ran so far."""
        lines = self._runs.read_text().splitlines()
        return [Run(name, queue, float(due), float(at)) for name, queue, due, at in map(str.split, lines)]
