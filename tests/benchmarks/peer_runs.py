"""One contender on a server of its own: its posts, its worker's lateness and drain, its memory, its idle commands."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from contenders import Contender
from harness import HERE, rate
from installing import Installed
from rig.servers import RedisServer

#: A job of the raw limit: what any post has to do, a record and its place in the order.
RAW = "redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) return redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])"

#: Seconds in which posts and first runs have to happen, and those that a drain may take.
PATIENCE, DRAIN_SECONDS = 40.0, 4.0

#: Seconds between the start of a program that posts and its first post, at most, if nothing else runs.
START = 0.8

#: How much longer than expected posts may take until the first is due; the second, if they took longer than that.
STRETCHES = (1.0, 3.0)

FAR = 30 * 86_400

#: What `Runs.idle` sends itself while it counts: INFO, twice.
OWN_COMMANDS = 2


class Runs:
    """A contender on a server, in a folder.

    Args:
        server: It is emptied again and again.
        folder: For the notes of the jobs, and the worker's log.
        contender: Who is measured.
        installed: Its environment.
    """

    def __init__(self, server: RedisServer, folder: Path, contender: Contender, installed: Installed) -> None:
        self._server, self._contender = server, contender
        self._notes, self._log = folder / "notes", folder / "log"
        self._command = [installed.program, str(HERE / "peers" / contender.script)]
        self._environment = {
            **os.environ,
            **contender.settings,
            "PEER_REDIS": server.url_of(0),
            "PEER_NOTES": str(self._notes),
            "PEER_MODULES": installed.modules,
        }
        if not contender.peer:
            self._environment["PYTHONPATH"] = str(HERE.parents[1])
        self._rates: tuple[float, float | None] = 400.0, None
        self.clear()

    def clear(self) -> None:
        """Forget all jobs and notes."""
        with self._server.client() as client:
            client.flushall()
        self._notes.write_text("")

    def post(self, how: str, instants: Sequence[float]) -> float | None:
        """Post jobs; returns how many a second, None if the peer has no such way."""
        done = subprocess.run(
            [*self._command, how],
            input="\n".join(map(str, instants)),
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        if done.returncode and "there is no bulk" in done.stderr:
            return None
        if done.returncode:
            raise RuntimeError(error_of(done.stderr))
        return float(done.stdout.split()[-1])

    def posts(self, count: int, in_bulk: int) -> tuple[float, float | None]:
        """Posts a second, one by one and in bulk, of jobs that are due in a month."""
        self.clear()
        far = time.time() + FAR
        single = self.post("post", [far + n for n in range(count)]) or 0.0
        self.clear()
        return single, self.post("bulk", [far + n for n in range(in_bulk)])

    def expect(self, single: float, bulk: float | None) -> None:
        """Know how many posts a second there will be, one by one and in bulk; None: it has no bulk."""
        self._rates = single, bulk

    def post_all(self, instants: Sequence[float]) -> None:
        """Post jobs in the fastest way there is."""
        if self.post("bulk", instants) is None:
            self.post("post", instants)

    def _lead(self, count: int, *, bulk: bool = False) -> float:
        """Seconds in which so many posts are done, program and all."""
        single, many = self._rates
        return START + 1.5 * count / ((bulk and many) or single)

    def read(self) -> list[tuple[float, float]]:
        """(instant, lateness) of each run, in seconds."""
        return noted(self._notes.read_text())

    @contextlib.contextmanager
    def worker(self) -> Iterator[psutil.Process]:
        """A worker that has run a first job; killed on the way out, with all that it started."""
        with self._log.open("w") as out:
            process = subprocess.Popen(
                [*self._command, "work"], env=self._environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        try:
            yield psutil.Process(process.pid)
        finally:
            end(process)

    def ready(self, worker: psutil.Process) -> None:
        """Wait until a job has run.

        Raises:
            RuntimeError: The worker ended.
        """
        self.post("post", [time.time()])
        self._wait(1, PATIENCE, worker)
        if not alive(worker):
            raise RuntimeError(error_of(self._log.read_text()))
        self._notes.write_text("")

    def _wait(self, count: int, seconds: float, worker: psutil.Process | None = None) -> None:
        """Wait until so many jobs have run, or so long, or until the worker has ended."""
        until = time.monotonic() + seconds
        while self._notes.read_bytes().count(b"\n") < count and time.monotonic() < until:
            if worker and not alive(worker):
                return
            time.sleep(0.02)

    def lateness(self, events: int, span: float) -> tuple[list[float], int]:
        """Post jobs that come due over so many seconds; returns how late each ran, and how many never did."""
        for stretch in STRETCHES:
            self._notes.write_text("")
            first = time.time() + stretch * self._lead(events)
            self.post("at", [first + n * span / events for n in range(events)])
            posted = time.time()
            self._wait(events, first + span - posted + 4)
            runs = self.read()
            # What was posted late can only run late.
            late = [late for at, late in runs if at - late > posted]
            if posted < first + span / 2:
                break
        return late, events - len(runs)

    def drain(self, due: int) -> tuple[float, int]:
        """Post jobs that are due at one instant; returns how many run a second, and how many did in the time."""
        for stretch in STRETCHES:
            self._notes.write_text("")
            instant = time.time() + stretch * self._lead(due, bulk=True)
            self.post_all([instant] * due)
            start = max(instant, time.time())
            self._wait(due, start - time.time() + DRAIN_SECONDS)
            runs = [run for run in self.read() if run[0] > start]
            if start == instant:
                break
        return (rate(runs) if len(runs) > 1 else 0.0), len(runs)

    def memory(self, worker: psutil.Process, pending: int) -> tuple[float, float, float]:
        """What a job takes that is due in a month, while the worker is up.

        Returns:
            Bytes of Redis' memory; the same if its text has English words; bytes of the worker's memory.
        """
        far = time.time() + FAR
        # From none on, and then as many again: tables grow by doubling, so that both have the same share of theirs.
        figures = [(0, self._used())]
        for count, text in ((pending // 10, ""), (pending - pending // 10, ""), (pending, "words")):
            self._environment["PEER_TEXT"] = text
            self.post_all([far + n for n in range(count)])
            figures.append((self._settled(worker), self._used()))
        (_, none), (worker_before, _), (worker_after, random), (_, words) = figures
        grown = (worker_after - worker_before) / (pending - pending // 10)
        return (random - none) / pending, (words - random) / pending, grown

    def _used(self) -> int:
        with self._server.client() as client:
            return int(client.info("memory")["used_memory"])

    def _settled(self, worker: psutil.Process) -> int:
        """Bytes of a worker's memory, of all its processes, when it grows no more; after 8 s anyhow."""
        sizes = [-1]
        until = time.monotonic() + 8
        while time.monotonic() < until and (len(sizes) < 4 or max(sizes[-4:]) - min(sizes[-4:]) > 100_000):
            time.sleep(0.25)
            sizes.append(sum(one.memory_info().rss for one in tree(worker)))
        return sizes[-1]

    def idle(self, seconds: float) -> tuple[float, float]:
        """Commands a second that clients send, and all commands, those inside of scripts too."""
        with contextlib.ExitStack() as stack:
            client, watcher = (stack.enter_context(self._server.client()) for _ in range(2))
            client.ping()  # connects, before commands are counted
            monitor = stack.enter_context(watcher.monitor())
            before, began = _calls(client.info("commandstats")), time.monotonic()
            time.sleep(seconds)
            after, took = _calls(client.info("commandstats")), time.monotonic() - began
            client.echo("the end of idleness")
            sent = 0
            for command in monitor.listen():
                if "the end of idleness" in command["command"]:
                    break
                sent += command["client_type"] != "lua"
        # Less what was sent here: the first INFO counts itself only afterwards.
        return max(0, sent - OWN_COMMANDS) / took, max(0, after - before - 1) / took


def _calls(stats: dict[str, dict[str, float]]) -> int:
    return sum(int(stat["calls"]) for stat in stats.values())


def noted(text: str) -> list[tuple[float, float]]:
    """(instant, lateness) of each run that is noted, in seconds; a line that is not whole yet is left out."""
    lines = (line.split() for line in text[: text.rfind("\n") + 1].splitlines())
    return [(float(at), float(late)) for at, late in lines]


def wait_until_idle(workers: Sequence[psutil.Process]) -> None:
    """Wait until workers that were just started take less than a fifth of a core together; 20 s at most."""
    until, quiet = time.monotonic() + 20, 0
    before = _processor_time(workers)
    while time.monotonic() < until and quiet < 3:
        time.sleep(0.5)
        now = _processor_time(workers)
        quiet = quiet + 1 if now - before < 0.1 else 0
        before = now


def _processor_time(workers: Sequence[psutil.Process]) -> float:
    return sum(sum(one.cpu_times()[:2]) for worker in workers for one in tree(worker))


def error_of(output: str) -> str:
    """Return the line in which a program of Python or Node.js that failed says why."""
    lines = [line for line in output.splitlines() if line.strip()] or ["it said nothing"]
    return next((line for line in reversed(lines) if re.match(r"[\w.]*(Error|Exception)\b", line)), lines[-1])[:500]


def tree(process: psutil.Process) -> list[psutil.Process]:
    """A process and all that it started."""
    return [process, *process.children(recursive=True)]


def alive(process: psutil.Process) -> bool:
    """Whether a process has not ended."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kill a worker and all that it started: its server is emptied, and nobody waits for anything."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in tree(psutil.Process(process.pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
    process.wait()


def raw(server: RedisServer, count: int) -> tuple[float, float]:
    """Script calls a second that store as much, one by one and in a pipeline: what posts are compared with."""
    with server.client() as client:
        client.flushall()
        sha = client.script_load(RAW)
        calls = [(sha, 2, "raw", "raw-due", f"id-{n}", n, "x" * 400) for n in range(count)]
        began = time.perf_counter()
        for call in calls:
            client.evalsha(*call)
        single = count / (time.perf_counter() - began)
        began = time.perf_counter()
        for first in range(0, count, 500):
            with client.pipeline(transaction=False) as pipe:
                for call in calls[first : first + 500]:
                    pipe.evalsha(*call)
                pipe.execute()
        return single, count / (time.perf_counter() - began)
