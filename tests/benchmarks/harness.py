"""What the benchmarks share: a server, workers that write down when their tasks ran, and percentiles."""

import contextlib
import importlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]

from rig.servers import RedisServer  # noqa: E402
from rig.waiting import wait_until  # noqa: E402


class Bench:
    """One server, one folder, and the app that posts to them."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.notes = folder / "notes"
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path[:3]),
            "BENCH_BROKER": server.url_of(0),
            "BENCH_TIMER": server.url_of(1),
            "BENCH_NOTES": str(self.notes),
        }
        os.environ.update({k: v for k, v in self.environment.items() if k.startswith("BENCH_")})
        module: Any = importlib.import_module("bench_app")
        self.app, self.note, self.nap, self.busy = module.app, module.note, module.nap, module.busy

    def clear(self) -> None:
        """Forget all tasks and notes."""
        with self.server.client() as client:
            client.flushall()
        self.notes.write_text("")

    def read(self) -> list[tuple[float, float]]:
        """(instant, lateness) of each run, in seconds."""
        return [(float(a), float(b)) for a, b in (line.split() for line in self.notes.read_text().splitlines())]

    @contextlib.contextmanager
    def worker(
        self, pool: str = "prefork", concurrency: int = 2, *options: str, install: bool = True
    ) -> Iterator[psutil.Process]:
        """A worker that is ready, as a psutil process; ended on the way out."""
        log = self.folder / f"worker-{time.monotonic_ns()}.log"
        name = f"bench{time.monotonic_ns()}@localhost"
        argv = [sys.executable, "-m", "celery", "-A", "bench_app", "worker", "-n", name, "-l", "WARNING", "-P", pool]
        argv += ["-c", str(concurrency), *options]
        environment = {**self.environment, "BENCH_INSTALL": "1" if install else "0"}
        with log.open("w") as out:
            process = subprocess.Popen(argv, env=environment, stdout=out, stderr=out)
        try:
            inspect = self.app.control.inspect(destination=[name], timeout=0.5, limit=1)
            wait_until(lambda: process.poll() is not None or inspect.ping(), "the worker to be ready", 30)
            if process.poll() is not None:
                raise RuntimeError(log.read_text())
            yield psutil.Process(process.pid)
        finally:
            # What it holds is forgotten with the server's data; a warm shutdown would take as long as a measurement.
            with contextlib.suppress(psutil.NoSuchProcess):
                for one in (*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)):
                    one.kill()
            process.wait(30)

    def wait_for_runs(self, count: int, timeout: float) -> list[tuple[float, float]]:
        """Wait until so many tasks have run."""
        wait_until(lambda: self.notes.read_bytes().count(b"\n") >= count, f"{count} runs", timeout)
        return self.read()


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """A server and a folder that are gone afterwards."""
    with RedisServer() as server, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        made = Bench(server, Path(folder))
        made.clear()
        yield made


def keep(path: Path | None, server: RedisServer, figures: dict[str, Any]) -> None:
    """Write what was measured to a file of JSON, if there is to be one: {"versions": {...}, "figures": {...}}."""
    if path is None:
        return
    with server.client() as client:
        versions = {"python": platform.python_version(), "redis-server": client.info("server")["redis_version"]}
    for package in ("celery-dtimer", "celery", "kombu", "redis"):
        versions[package] = importlib.metadata.version(package)
    path.write_text(json.dumps({"versions": versions, "figures": figures}))


def percentiles(values: Sequence[float]) -> str:
    """Return "p50 / p99 / max" of values in seconds, written in milliseconds."""
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"p50 {statistics.median(ordered) * 1000:6.1f}  p99 {p99 * 1000:6.1f}  max {ordered[-1] * 1000:6.1f} ms"


def rate(notes: Sequence[tuple[float, float]]) -> float:
    """Runs per second between the first and the last of them."""
    instants = sorted(instant for instant, _ in notes)
    return (len(instants) - 1) / (instants[-1] - instants[0])


def in_turn(rounds: int, contenders: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure the contenders in turn, ``rounds`` times: {name: [figure of each round]}."""
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, measure in contenders.items():
            figures[name].append(measure())
    return figures
