"""What the attacks of messages share: a server, workers of hostile_app.py, and who has run."""

import contextlib
import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]

from rig.outsider import Outsider  # noqa: E402
from rig.servers import RedisServer  # noqa: E402
from rig.waiting import wait_until  # noqa: E402


class Worker:
    """One worker: its process, and what it logged."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log
        self.seen = psutil.Process(process.pid)

    @property
    def alive(self) -> bool:
        """Whether its main process is the one that was started."""
        return self.process.poll() is None

    def log(self) -> str:
        """All that it wrote."""
        return self._log.read_text(errors="replace")

    def cpu(self) -> float:
        """Seconds of processor time that it has used, with its pool's processes."""
        processes = [self.seen, *self.seen.children(recursive=True)]
        return sum(sum(process.cpu_times()[:2]) for process in processes)


class Field:
    """One server: database 0 is the timer's, 1 the broker, 2 the records."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server, self._folder, self._workers = server, folder, 0
        os.environ.update(
            ATTACK_BROKER=server.url_of(1), ATTACK_TIMER=server.url_of(0), ATTACK_RECORDS=server.url_of(2)
        )
        self.broker, self.records = server.client(1), server.client(2)
        self.module: Any = importlib.import_module("hostile_app")
        self.app = self.module.app
        self.outsider = Outsider(server.url_of(0), queues=["celery"])

    def ran(self) -> dict[str, int]:
        """How often each neighbour ran."""
        return {name.decode(): int(count) for name, count in self.records.hgetall("ran").items()}

    @contextlib.contextmanager
    def worker(
        self, pool: str, concurrency: int = 2, *, plain: bool = False, env: Mapping[str, str] | None = None
    ) -> Iterator[Worker]:
        """A worker that is ready; killed on the way out."""
        self._workers += 1
        log = self._folder / f"worker-{self._workers}.log"
        argv = [sys.executable, "-m", "celery", "-A", "hostile_app", "worker", "-n", f"w{self._workers}@localhost"]
        argv += ["-l", "INFO", "-P", pool, "-c", str(concurrency), "--without-mingle", "--without-gossip"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[:3]), "ATTACK_PLAIN": str(int(plain))}
        with log.open("w") as out:
            process = subprocess.Popen(argv, env={**environment, **(env or {})}, stdout=out, stderr=out)
        worker = Worker(process, log)
        try:
            wait_until(lambda: not worker.alive or " ready." in worker.log(), "the worker to be ready", 40)
            yield worker
        finally:
            children = worker.seen.children(recursive=True) if worker.alive else []
            for one in (process, *children):
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            process.wait()


@contextlib.contextmanager
def field() -> Iterator[Field]:
    """A server and a folder that are gone afterwards."""
    with RedisServer() as server, tempfile.TemporaryDirectory(prefix="attack-") as folder:
        yield Field(server, Path(folder))
