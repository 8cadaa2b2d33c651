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
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
from contenders import CONTENDERS, NODE, PYTHON, QUICK, WITHOUT_SCRIPT, Contender
from harness import keep
from installing import Installed, install_all
from peer_figures import Figures
from peer_runs import Runs, raw, wait_until_idle
from rig.servers import RedisServer

#: A job that ran less than this before its time, in seconds, is not early: some round instants to milliseconds.
ROUNDED = 0.001

#: Seconds that are left for drains after memory and idle commands, if any contender has more than one.
DRAINS = 50

#: Contenders whose memory and idle commands are measured at a time: they mostly wait.
AT_A_TIME = 6


def chosen(given: argparse.Namespace) -> list[Contender]:
    """Who is measured, by the options of the command line."""
    names = given.only.split(",") if given.only else QUICK if given.quick else None
    return [one for one in CONTENDERS if not names or one.name in names or (given.only and one.family in names)]


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
            # Whoever has no more patience has what there is.
            self.kept(self.given.json)

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
        if time.monotonic() > self.until:
            raise TimeoutError("no time was left")
        figures, runs = self.figures[one.name], self._known(one)
        with runs.worker() as worker:
            runs.ready(worker)
            late, never = runs.lateness(min(self.given.events, one.events), self.given.span)
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
        if time.monotonic() > self.until - (DRAINS if any(each.rounds > 1 for each in self.contenders) else 0):
            raise TimeoutError("no time was left")
        figures = self.figures[one.name]
        with ExitStack() as stack:
            server = stack.enter_context(RedisServer())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            runs = Runs(server, folder, one, self.installed[one.peer])
            with runs.worker() as worker:
                runs.ready(worker)
                self._idle_of(figures, runs, 1)
                if one.late_only:
                    return
                taken = runs.memory(worker, one.pending)
                figures.bytes_per_job, figures.bytes_per_job_of_words, figures.worker_bytes_per_job = taken
            runs.clear()
            wait_until_idle([stack.enter_context(runs.worker()) for _ in range(4)])
            self._idle_of(figures, runs, 4)

    def _idle_of(self, figures: Figures, runs: Runs, workers: int) -> None:
        sent, with_scripts = runs.idle(self.given.idle)
        figures.idle_commands_per_s[str(workers)] = round(sent, 2)
        figures.idle_with_scripts_per_s[str(workers)] = round(with_scripts, 2)

    def kept(self, file: Path | None) -> None:
        """Write a file of JSON, if there is to be one: in the form of all scripts, and each contender as a whole."""
        if file is None:
            return
        flat = {
            f"{name} {what}": values for name, found in self.figures.items() for what, values in found.flat().items()
        }
        keep(file, self.server, {"raw": self.raw["one_by_one"], "raw pipeline": self.raw["pipelined"], **flat})
        content = json.loads(file.read_text())
        content["versions"] |= {name: one.version for name, one in self.installed.items() if one.version}
        content["machine"] = machine()
        content["peers"] = {name: vars(found) for name, found in self.figures.items()}
        content["not_installed"] = {name: one.failure for name, one in self.installed.items() if one.failure}
        content["raw"] = self.raw
        file.write_text(json.dumps(content))


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


def main() -> None:
    """Print a line a contender; keep all of it as JSON, if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=float, help="nothing begins later (270; quick: 45)")
    parser.add_argument("--only", help="names of contenders, or families")
    parser.add_argument("--install", action="store_true", help="install, and end")
    parser.add_argument("--events", type=int, help="whose lateness is measured, at most (240; quick: 100)")
    parser.add_argument("--span", type=float, help="in which they come due, in seconds (2.4; quick: 1)")
    parser.add_argument("--posts", type=int, help="one by one; twice as many in bulk (1000; quick: 400)")
    parser.add_argument("--idle", type=float, default=2.0, help="seconds of idleness")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    given.seconds = given.seconds or (45 if given.quick else 270)
    given.events = given.events or (100 if given.quick else 240)
    given.span = given.span or (1.0 if given.quick else 2.4)
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
        print(found.shown(name))
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
