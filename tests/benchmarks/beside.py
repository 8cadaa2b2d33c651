"""Other delayed queues beside us and plain Celery, each with a worker of its own, in one run and in turn.

usage: beside.py [--quick] [--seconds 270] [--only huey,bullmq] [--install] [--json FILE]

Installs what it measures, once, in environments of its own under .venv-bench (by pip, and by npm for Node.js): a peer
whose installation fails is told, and left out. contenders.py has who is measured, with which settings. Of each:
posts a second, one by one and in bulk, and the ratio to a script call of the same size; the lateness of jobs that
come due one by one; how fast a worker drains jobs that are all due; the bytes of Redis and of the worker for a pending
job; the commands a second of one and of four idle workers. Each job carries a text of 200 characters.

--quick leaves out most peers, memory and idle commands, and all rounds but one. --install only installs.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from contenders import CONTENDERS, NODE, PYTHON, QUICK, WITHOUT_SCRIPT, Contender
from harness import keep, percentiles
from installing import Installed, install_all
from peer_runs import Runs, raw
from rig.servers import RedisServer

#: A job that ran less than this before its time, in seconds, is not early: some round instants to milliseconds.
ROUNDED = 0.001

#: Contenders whose memory and idle commands are measured at a time: they mostly wait.
AT_A_TIME = 4


def chosen(given: argparse.Namespace) -> list[Contender]:
    """Who is measured, by the options of the command line."""
    names = given.only.split(",") if given.only else QUICK if given.quick else None
    return [one for one in CONTENDERS if not names or one.name in names or (given.only and one.family in names)]


@dataclass
class Figures:
    """What was measured of a contender; the lists have an entry for each round."""

    note: str
    lateness_ms: list[float] = field(default_factory=list)
    early: int = 0
    never: int = 0
    drain_per_s: list[float] = field(default_factory=list)
    drained: list[int] = field(default_factory=list)
    posts_per_s: list[float] = field(default_factory=list)
    bulk_per_s: list[float] | None = None
    posts_ratio: list[float] = field(default_factory=list)
    bulk_ratio: list[float] | None = None
    bytes_per_job: float | None = None
    worker_bytes_per_job: float | None = None
    idle_commands_per_s: dict[str, float] = field(default_factory=dict)
    idle_with_scripts_per_s: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


class Beside:
    """All contenders, and what was measured of each.

    Args:
        given: The options of the command line.
        installed: The peers, by name; ourselves as "".
    """

    def __init__(self, given: argparse.Namespace, installed: dict[str, Installed]) -> None:
        self.given, self.installed = given, installed
        self.contenders = chosen(given)
        self.figures = {one.name: Figures(one.note) for one in self.contenders}
        self.raw: dict[str, list[float]] = {"one_by_one": [], "pipelined": []}
        self.until = time.monotonic() + given.seconds

    def _each(self, what: str, contenders: list[Contender], measure: Callable[[Contender], None]) -> None:
        """Measure contenders in turn; a failure of one is told, and the rest goes on."""
        for one in contenders:
            self._guarded(what, one, measure)

    def _guarded(self, what: str, one: Contender, measure: Callable[[Contender], None]) -> None:
        if self.installed[one.peer].failure:
            return
        began = time.monotonic()
        try:
            measure(one)
        except Exception as exc:  # noqa: BLE001 - whatever goes wrong in a peer, or in its script
            self.figures[one.name].failures.append(f"{what}: {exc}"[:500])
        print(f"  {what} {one.name}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)

    def measure(self) -> None:
        """Measure everything, as long as there is time."""
        with RedisServer() as server, tempfile.TemporaryDirectory(prefix="bench-") as folder:
            self.server, self.folder = server, Path(folder)
            raw(server, 200)
            leaders = [one for one in self.contenders if one.leads]
            self._each("posts", leaders, self._posts)
            self._each("work", self.contenders, self._work)
            self.kept(self.given.json)
            if not self.given.quick:
                with ThreadPoolExecutor(AT_A_TIME) as pool:
                    wanted = [one for one in self.contenders if one.leads or one.late_only]
                    list(pool.map(lambda one: self._guarded("idle", one, self._idle), wanted))
                self.kept(self.given.json)
                for number in range(1, max(one.rounds for one in self.contenders)):
                    again = [one for one in self.contenders if one.rounds > number]
                    if self._has_time(again, "drain"):
                        self._each("drain", again, self._drain)
                while self._has_time(leaders, "posts"):
                    self._each("posts", leaders, self._posts)
            self.kept(self.given.json)

    def _has_time(self, contenders: list[Contender], what: str) -> bool:
        """Whether a round of them ends in time, by what rounds usually take."""
        usual = {"drain": 4.5, "posts": 4.0}[what]
        return time.monotonic() + usual * len(contenders) < self.until

    def _runs(self, one: Contender) -> Runs:
        return Runs(self.server, self.folder, one, self.installed[one.peer])

    def _posts(self, one: Contender) -> None:
        figures, given = self.figures[one.name], self.given
        raw_single, raw_bulk = raw(self.server, given.posts)
        self.raw["one_by_one"].append(raw_single)
        self.raw["pipelined"].append(raw_bulk)
        single, bulk = self._runs(one).posts(given.posts, 2 * given.posts)
        figures.posts_per_s.append(single)
        figures.posts_ratio.append(single / raw_single)
        if bulk is not None:
            figures.bulk_per_s = [*(figures.bulk_per_s or []), bulk]
            figures.bulk_ratio = [*(figures.bulk_ratio or []), bulk / raw_bulk]

    def _work(self, one: Contender) -> None:
        figures, runs = self.figures[one.name], self._known(one)
        with runs.worker() as worker:
            runs.ready(worker)
            late, never = runs.lateness(self.given.events, self.given.span)
            figures.lateness_ms += [round(value * 1000, 3) for value in late]
            figures.early += sum(value < -ROUNDED for value in late)
            figures.never += never
            if not one.late_only:
                self._drained(one, runs)

    def _drain(self, one: Contender) -> None:
        runs = self._known(one)
        with runs.worker() as worker:
            runs.ready(worker)
            self._drained(one, runs)

    def _drained(self, one: Contender, runs: Runs) -> None:
        per_second, ran = runs.drain(one.due // 4 if self.given.quick else one.due)
        self.figures[one.name].drain_per_s.append(per_second)
        self.figures[one.name].drained.append(ran)

    def _known(self, one: Contender) -> Runs:
        """Its runs, with the rate of posts that is known of its family."""
        family, runs = self.figures.get(one.family), self._runs(one)
        if family and family.posts_per_s:
            runs.expect(family.posts_per_s[0], family.bulk_per_s[0] if family.bulk_per_s else None)
        return runs

    def _idle(self, one: Contender) -> None:
        figures = self.figures[one.name]
        with ExitStack() as stack:
            server = stack.enter_context(RedisServer())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            runs = Runs(server, folder, one, self.installed[one.peer])
            worker = stack.enter_context(runs.worker())
            runs.ready(worker)
            self._idle_of(figures, runs, 1)
            if not one.late_only:
                figures.bytes_per_job, figures.worker_bytes_per_job = runs.memory(worker, one.pending)
            more = [stack.enter_context(runs.worker()) for _ in range(3)]
            for _ in more:
                # Each has had the time to start when as many jobs have run; which of them ran one can't be told.
                runs.ready(worker)
            time.sleep(2)
            self._idle_of(figures, runs, 4)

    def _idle_of(self, figures: Figures, runs: Runs, workers: int) -> None:
        sent, with_scripts = runs.idle(self.given.idle)
        figures.idle_commands_per_s[str(workers)] = round(sent, 2)
        figures.idle_with_scripts_per_s[str(workers)] = round(with_scripts, 2)

    def kept(self, file: Path | None) -> None:
        """Write a file of JSON, if there is to be one: in the form of all scripts, and each contender as a whole."""
        if file is None:
            return
        keep(file, self.server, {"raw": self.raw["one_by_one"], "raw pipeline": self.raw["pipelined"], **self._flat()})
        content = json.loads(file.read_text())
        content["versions"] |= {name: one.version for name, one in self.installed.items() if one.version}
        content["machine"] = machine()
        content["peers"] = {name: vars(found) for name, found in self.figures.items()}
        content["not_installed"] = {name: one.failure for name, one in self.installed.items() if one.failure}
        content["raw"] = self.raw
        file.write_text(json.dumps(content))

    def _flat(self) -> dict[str, list[Any]]:
        """The figures of each contender by the names that README.md has; those that there are."""
        flat: dict[str, list[Any]] = {}
        for name, found in self.figures.items():
            idle = [found.idle_commands_per_s["1"]] if found.idle_commands_per_s else []
            flat |= {
                f"{name} posts": found.posts_per_s,
                f"{name} posts ratio": found.posts_ratio,
                f"{name} bulk": found.bulk_per_s or [],
                f"{name} bulk ratio": found.bulk_ratio or [],
                f"{name} bytes": [] if found.bytes_per_job is None else [found.bytes_per_job],
                f"{name} lateness": [[late / 1000 for late in found.lateness_ms]] if found.lateness_ms else [],
                f"{name} drain": found.drain_per_s,
                f"{name} idle": idle,
            }
        return {name: values for name, values in flat.items() if values}


def machine() -> dict[str, Any]:
    """Where this ran."""
    names = {line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")}
    return {
        "processor": ", ".join(sorted(names)) or platform.processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
        "load": os.getloadavg()[0],
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def shown(name: str, found: Figures) -> str:
    """Return what was measured of a contender, in a line."""

    def median(values: list[float] | None, form: str) -> str:
        return format(statistics.median(values), form) if values else "-".rjust(len(format(0.0, form)))

    late = percentiles([value / 1000 for value in found.lateness_ms]) if found.lateness_ms else "-"
    idle = " ".join(f"{value:.1f}" for value in found.idle_commands_per_s.values()) or "-"
    size, held = ([] if value is None else [value] for value in (found.bytes_per_job, found.worker_bytes_per_job))
    return (
        f"{name:22} late {late} early {found.early} never {found.never}  drain {median(found.drain_per_s, '6.0f')}/s"
        f"  posts {median(found.posts_per_s, '5.0f')}/s ({median(found.posts_ratio, '.2f')})"
        f"  bulk {median(found.bulk_per_s, '6.0f')}/s ({median(found.bulk_ratio, '.2f')})"
        f"  {median(size, '5.0f')} bytes, worker {median(held, '5.0f')}  idle {idle}/s"
        + "".join(f"\n  failed: {one}" for one in found.failures)
    )


def main() -> None:
    """Print a line a contender; keep all of it as JSON, if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=float, default=270, help="no further round begins that would take longer")
    parser.add_argument("--only", help="names of contenders, or families")
    parser.add_argument("--install", action="store_true", help="install, and end")
    parser.add_argument("--events", type=int, help="whose lateness is measured (300; quick: 100)")
    parser.add_argument("--span", type=float, help="in which they come due, in seconds (3; quick: 1)")
    parser.add_argument("--posts", type=int, help="one by one; twice as many in bulk (1000; quick: 400)")
    parser.add_argument("--idle", type=float, default=2.0, help="seconds of idleness")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    given.events = given.events or (100 if given.quick else 300)
    given.span = given.span or (1.0 if given.quick else 3.0)
    given.posts = given.posts or (400 if given.quick else 1000)
    began = time.monotonic()
    wanted = [name for name in (*PYTHON, *NODE) if given.install or needed(name, given)]
    installed = install_all(wanted)
    for name, one in installed.items():
        print(f"{name} {one.version or 'is not installed: ' + one.failure}")
    print(f"installed in {time.monotonic() - began:.0f} s", flush=True)
    if given.install:
        return
    began = time.monotonic()
    beside = Beside(given, {**installed, "": Installed()})
    beside.measure()
    for name, found in beside.figures.items():
        print(shown(name, found))
    if given.quick:
        print("--quick left out: " + ", ".join(one.name for one in CONTENDERS if one.name not in beside.figures))
        print("and of all: memory, idle commands, all rounds but one")
    print(f"measured in {time.monotonic() - began:.0f} s")


def needed(name: str, given: argparse.Namespace) -> bool:
    """Whether a peer is measured, or to be told about."""
    if name in WITHOUT_SCRIPT:
        return not (given.quick or given.only)
    return any(one.peer == name for one in chosen(given))


if __name__ == "__main__":
    main()
