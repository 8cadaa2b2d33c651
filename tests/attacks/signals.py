"""A signal at any instant of a flood: does the worker end?

Workers are forked from a process that has loaded them already, some at a time; each gets one signal, at a random
instant after it is ready (--trials), or in each line of the product that its main thread runs (--forced). One that has
not ended after --patience seconds is asked where it stands, and killed: a hang in our code is a failure, one that plain
Celery (--plain) has too is counted apart.

usage: signals.py [--pool all] [--trials 200] [--signal SIGTERM,SIGINT,SIGQUIT] [--plain] [--forced] [--at-once 3]
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from os import fork, waitpid  # the real ones, and sleep below: what forks the workers is never switched away from
from pathlib import Path
from time import sleep

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]

SIGNALS = ("SIGTERM", "SIGINT", "SIGQUIT")
SEEDS = 300  # tasks in flight
TIDE = f"import time, flood_app; flood_app.seed({SEEDS})\nwhile True: time.sleep(1); flood_app.seed(4)"
LONGEST = 0.6  # seconds from a worker's readiness to its signal
READY_IN = 30.0  # seconds

#: Where a signal is forced: what the main thread runs of the product, and of what it calls that has locks.
FORCED_FILES = ("/celery_dtimer/", "/redis/connection.py")


@dataclass
class Trial:
    """One worker."""

    pid: int
    log: Path
    number: str
    trap: str | None
    ready: int
    started: float = field(default_factory=time.monotonic)
    signal_at: float | None = None
    signalled: float | None = None


# --- in the process that forks


def run_pool(arguments: argparse.Namespace) -> None:
    """Fork the workers of one pool, and print a row a signal."""
    pool = arguments.pool
    sys.argv = ["celery", "-A", "flood_app", "worker", "-P", pool]
    from celery import maybe_patch_concurrency

    if pool in ("gevent", "eventlet"):
        maybe_patch_concurrency(sys.argv)
    import celery.bin.celery
    import celery.worker.worker  # noqa: F401
    import flood_app
    from celery import concurrency

    concurrency.get_implementation(pool)
    flood_app.app.finalize(auto=True)
    folder = Path(os.environ["FLOOD_FOLDER"])
    sites: list[tuple[str | None, int]] = [(None, 1)] * arguments.trials
    if arguments.forced:
        found = observed(pool, folder)
        sites = [(site, random.randint(1, min(times, 40))) for site, times in sorted(found.items())]
        random.shuffle(sites)
        sites = sites[: arguments.trials]
    for number in arguments.signal.split(","):
        results: Counter[str] = Counter()
        where: Counter[str] = Counter()
        slowest = 0.0
        waiting = list(sites)
        running: list[Trial] = []
        begun = time.monotonic()
        while waiting or running:
            while waiting and len(running) < arguments.at_once:
                site, times = waiting.pop()
                running.append(start(pool, folder, number, site, times))
            for trial in list(running):
                result = look_at(trial, arguments.patience)
                if result is None:
                    continue
                running.remove(trial)
                outcome, seconds, frames = result
                results[outcome] += 1
                slowest = max(slowest, seconds)
                if frames:
                    where[frames] += 1
                trial.log.unlink(missing_ok=True)
            sleep(0.01)
        total = sum(results.values())
        kind = "plain " if arguments.plain else "dtimer"
        print(
            f"{pool:8} {kind} {'forced ' if arguments.forced else ''}{number:7} {total:4} workers:"
            f" {results['ended']} ended (slowest {slowest:.1f} s),"
            f" {results['hung']} hung, {results['no trap']} never came to the line, {results['no start']} did not start"
            f"  [{time.monotonic() - begun:.0f} s]",
            flush=True,
        )
        for frames, count in where.most_common():
            print(f"    {count} hung in {frames}", flush=True)
        print(
            json.dumps(
                {
                    "pool": pool,
                    "hung": results["hung"],
                    "ours": sum(count for frames, count in where.items() if "celery_dtimer" in frames),
                }
            ),
            file=sys.stderr,
            flush=True,
        )


def start(pool: str, folder: Path, number: str, site: str | None, times: int) -> Trial:
    """Start a worker."""
    log = folder / f"worker-{time.monotonic_ns()}.log"
    reader, writer = os.pipe()
    pid = fork()
    if pid:
        os.close(writer)
        os.set_blocking(reader, False)
        return Trial(pid, log, number, site, reader)
    os.close(reader)
    from rig import trap

    def set_trap() -> None:
        if site is not None:
            os.environ.update({trap.TRAP: site, trap.SIGNAL: number, trap.TIMES: str(times)})
            trap.arm()

    become_worker(pool, log, writer, set_trap)
    raise AssertionError("a worker does not return")


def become_worker(pool: str, log: Path, writer: int, on_ready: Callable[[], object]) -> None:
    """Run a worker in this process; it never returns."""
    import faulthandler

    os.setsid()
    if pool == "gevent":
        import gevent

        gevent.reinit()
    elif pool == "eventlet":
        from eventlet import hubs

        hubs.use_hub()  # one of its own
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    faulthandler.register(signal.SIGUSR2, file=2, all_threads=True)
    signal.signal(signal.SIGPROF, say_greenlets)
    random.seed()
    from celery import signals
    from flood_app import app

    @signals.worker_ready.connect(weak=False)
    def say(**_: object) -> None:
        os.write(writer, b"r")
        on_ready()

    name = f"w{os.getpid()}@flood"
    options = ["-n", name, "-c", "2", "-P", pool, "-l", "WARNING", "--without-mingle", "--without-gossip"]
    code = 1
    with contextlib.suppress(BaseException):
        try:
            app.worker_main(["worker", *options])
            code = 0
        except SystemExit as exc:
            code = int(exc.code or 0)
    os._exit(code)


def say_greenlets(*_: object) -> None:
    """Print where every greenlet stands; the running one is the thread that faulthandler shows."""
    import gc
    import traceback

    kind = getattr(sys.modules.get("greenlet"), "greenlet", None)
    for found in gc.get_objects() if kind else ():
        if isinstance(found, kind) and found.gr_frame is not None:
            os.write(2, f"greenlet {found!r}\n{''.join(traceback.format_stack(found.gr_frame))}\n".encode())


def look_at(trial: Trial, patience: float) -> tuple[str, float, str] | None:
    """Go on with a trial; returns how it ended, after how long, and where it hung."""
    now = time.monotonic()
    done, _ = waitpid(trial.pid, os.WNOHANG)
    if done:
        os.close(trial.ready)
        if trial.signalled is None and trial.trap is None:
            print(trial.log.read_text()[-2000:])
            return "no start", 0.0, ""
        kill_group(trial.pid)
        return "ended", now - (trial.signalled or now), ""
    if trial.signal_at is None:
        with contextlib.suppress(BlockingIOError):
            if os.read(trial.ready, 1):
                trial.signal_at = now + random.uniform(0, LONGEST)
                if trial.trap is not None:
                    trial.signal_at, trial.signalled = now, now + LONGEST
        if now - trial.started > READY_IN:
            print(trial.log.read_text()[-2000:])
            end(trial)
            return "no start", 0.0, ""
    elif trial.signalled is None and now >= trial.signal_at:
        os.kill(trial.pid, getattr(signal, trial.number))
        trial.signalled = now
    elif trial.signalled is not None and now - trial.signalled > (patience if is_told(trial) else 8.0):
        if not is_told(trial):
            end(trial)
            return "no trap", 0.0, ""
        frames = frames_of(trial)
        end(trial)
        return "hung", 0.0, frames
    return None


def is_told(trial: Trial) -> bool:
    """Whether the worker has had its signal."""
    return trial.trap is None or "shutdown (MainProcess)" in trial.log.read_text(errors="replace")


def frames_of(trial: Trial) -> str:
    """Where its main thread stands: the innermost functions, ours among them."""
    before = trial.log.stat().st_size
    os.kill(trial.pid, signal.SIGPROF)
    sleep(0.5)
    os.kill(trial.pid, signal.SIGUSR2)
    sleep(0.5)
    text = trial.log.read_bytes()[before:].decode(errors="replace")
    keep = Path(os.environ["FLOOD_HUNG"]) / f"{trial.pid}.log"
    keep.write_text((trial.trap or "") + "\n" + trial.log.read_text(errors="replace"))
    blocks = [block for block in text.split("\n\n") if "apps/worker.py" in block or "worker_main" in block]
    lines = (blocks or [text])[-1].splitlines()
    frames = [f"{line.split('site-packages/')[-1].split('File ')[-1].strip()}" for line in lines if "File" in line]
    shown = frames[:3] + [frame for frame in frames[3:] if "celery_dtimer" in frame]
    return " < ".join(shown).replace('"', "") or "(no answer)"


def end(trial: Trial) -> None:
    """Kill it and its pool."""
    kill_group(trial.pid)
    with contextlib.suppress(ChildProcessError):
        waitpid(trial.pid, 0)
    os.close(trial.ready)


def kill_group(pid: int) -> None:
    """Its processes are all of its own session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def observed(pool: str, folder: Path) -> dict[str, int]:
    """Run a worker for some seconds, and return the lines of the product that its main thread ran, and how often."""
    log, out = folder / "observed.log", folder / "observed.json"
    reader, writer = os.pipe()
    pid = fork()
    if not pid:
        from rig import trap

        lines: dict[tuple[str, str, int], int] = {}
        owner = os.getpid()

        def dump(*_: object) -> None:
            if os.getpid() == owner:
                sys.settrace(None)
                out.write_text(json.dumps([[*key, times] for key, times in lines.items()]))

        signal.signal(signal.SIGALRM, dump)
        become_worker(pool, log, writer, lambda: trap.watch(FORCED_FILES, lines))
    wait_for(lambda: os.read(reader, 1), READY_IN)
    sleep(3)
    os.kill(pid, signal.SIGALRM)  # Celery has no use for it
    wait_for(out.exists, 10)
    sleep(0.5)
    found = {f"{path}:{function}:{line}": times for path, function, line, times in json.loads(out.read_text())}
    kill_group(pid)
    waitpid(pid, 0)
    print(f"{pool:8} the main thread ran {len(found)} lines of {', '.join(FORCED_FILES)}", flush=True)
    return found


def wait_for(condition: "object", seconds: float) -> None:
    """Wait until it holds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("the worker that is observed does not answer")
        sleep(0.02)


# --- the attack


def main() -> int:
    """Print the table; status 1 if a worker hung in our code, or more of them hung than of plain Celery."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", default="all")
    parser.add_argument("--trials", type=int, default=200, help="of each pool and signal")
    parser.add_argument("--signal", default=",".join(SIGNALS))
    parser.add_argument("--plain", action="store_true", help="plain Celery, for comparison")
    parser.add_argument("--forced", action="store_true", help="in each line that the main thread runs")
    parser.add_argument("--at-once", type=int, default=3)
    parser.add_argument("--patience", type=float, default=45.0, help="seconds that a worker may take to end")
    parser.add_argument("--hung", default="", help="a folder for the logs of those that hung")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        run_pool(arguments)
        return 0
    from rig.pools import POOLS
    from rig.servers import RedisServer

    failed = False
    for pool in POOLS if arguments.pool == "all" else arguments.pool.split(","):
        with RedisServer() as server, tempfile.TemporaryDirectory(prefix="signals-") as folder:
            environment = {
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path[:3]),
                "FLOOD_BROKER": server.url_of(1),
                "FLOOD_TIMER": server.url_of(0),
                "FLOOD_FOLDER": folder,
                "FLOOD_PLAIN": "1" if arguments.plain else "0",
                "FLOOD_HUNG": arguments.hung or folder,
                "PYTHONWARNINGS": "ignore",
            }
            # What a worker that ends has acknowledged early, and does not run, is made up for.
            tide = subprocess.Popen([sys.executable, "-c", TIDE], env=environment)
            try:
                ran = subprocess.run(
                    [sys.executable, __file__, "--inside", *sys.argv[1:], "--pool", pool],
                    env=environment,
                    check=False,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            finally:
                tide.kill()
                tide.wait()
        reports = [json.loads(line) for line in ran.stderr.splitlines() if line.startswith("{")]
        if ran.returncode or not reports:
            print(ran.stderr[-3000:])
        failed = failed or bool(ran.returncode) or any(report["ours"] for report in reports)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
