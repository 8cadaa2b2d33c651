"""How fast a worker drains tasks that are all due, and what that costs it: posted ones beside Celery's own.

usage: drain.py [--pools prefork,threads,solo] [--events 5000] [--rounds 3] [--quick] [--json FILE]
                [--without-plain] [--without-countdown] [--workers 1,2] [--latencies 0,1,5,20] [--idle 10]

Posted tasks, plain ones in the broker's queue, and countdowns in the worker's memory, in turn: tasks per second, and
milliseconds of processor time for 1,000 of them, of the worker's main process and of all its processes. A worker is
up when its tasks come, so that its start is no part of this.

--workers: posted tasks for so many workers; and tasks that sleep, so that the processor is no limit. --latencies:
posted tasks, where the timer's Redis is so many milliseconds away, through proxy.py (for 0 too); both in the first of
the pools. --idle: processor time in so many seconds without a task, with the timer and without. README.md says what
the figures in the file are called.
"""

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from harness import Bench, bench, keep, rate
from proxy import proxy

CONCURRENCY = {"prefork": 2, "threads": 8, "solo": 1}

#: Seconds that a task of --workers sleeps: long enough that those of two workers do not fill two cores.
NAP = {"prefork": 0.02, "threads": 0.04, "solo": 0.01}

#: For how long one worker is to have tasks that sleep, in seconds.
NAPPING = 3.0

WORDS = {1: "one", 2: "two", 3: "three", 4: "four"}

#: {name: figure}, see README.md; "" is the rate itself, and the other names come behind that of what was measured.
Figures = dict[str, Any]


def processor_time(process: psutil.Process) -> tuple[float, float]:
    """Seconds that a worker's main process has used, and all its processes together."""
    used = [sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True))]
    return used[0], sum(used)


@contextlib.contextmanager
def farther(b: Bench, milliseconds: float | None) -> Iterator[None]:
    """Let the workers reach the timer's Redis through a proxy."""
    if milliseconds is None:
        yield
        return
    direct = b.environment["BENCH_TIMER"]
    with proxy(b.server.port, milliseconds / 1000) as port:
        b.environment["BENCH_TIMER"] = direct.replace(f":{b.server.port}/", f":{port}/")
        try:
            yield
        finally:
            b.environment["BENCH_TIMER"] = direct


def script_calls(b: Bench) -> int:
    """The scripts that the server has been asked to run."""
    with b.server.client() as client:
        calls: int = client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
        return calls


def measured(b: Bench, processes: Sequence[psutil.Process], start: Callable[[], object], events: int) -> Figures:
    """Start a drain, wait for its end, and say what it took."""
    before, calls = [processor_time(process) for process in processes], script_calls(b)
    start()
    notes = b.wait_for_runs(events, 300)
    after = [processor_time(process) for process in processes]
    main, everything = (sum(y[i] - x[i] for x, y in zip(before, after, strict=True)) for i in (0, 1))
    first = min(instant for instant, _ in notes)
    return {
        "": rate(notes),
        "runs": sorted(instant - first for instant, _ in notes),
        "main cpu": main * 1000 / events,
        "cpu": everything * 1000 / events,
        "calls": (script_calls(b) - calls) / events,
    }


def drained(b: Bench, pool: str, events: int, workers: int = 1) -> Figures:
    """Let workers drain what is there."""
    with contextlib.ExitStack() as stack:
        # Of a queue that is empty, so that the drain does not begin before they are up.
        options = ("-Q", "empty", "--without-mingle")
        processes = [stack.enter_context(b.worker(pool, CONCURRENCY[pool], *options)) for _ in range(workers)]
        return measured(b, processes, partial(b.app.control.add_consumer, "celery"), events)


def posted(
    b: Bench, pool: str, events: int, *, workers: int = 1, latency: float | None = None, nap: float = 0.0
) -> Figures:
    """Tasks of the timer that are all due."""
    b.clear()
    for _ in range(events):
        if nap:
            b.nap.post_in(0, nap)
        else:
            b.note.post_in(0, time.time())
    with farther(b, latency):
        return drained(b, pool, events, workers)


def plain(b: Bench, pool: str, events: int) -> Figures:
    """Plain tasks in the broker's queue."""
    b.clear()
    for _ in range(events):
        b.note.delay(time.time())
    return drained(b, pool, events)


def countdown(b: Bench, pool: str, events: int) -> Figures:
    """Tasks with a countdown that a worker holds in its memory when they come due."""
    b.clear()
    with b.worker(pool, CONCURRENCY[pool]) as process:
        due = time.time() + 1 + events / 300
        for _ in range(events):
            b.note.apply_async((due,), countdown=due - time.time())
        wait = partial(time.sleep, 0)
        time.sleep(max(0.0, due - 0.2 - time.time()))
        return measured(b, [process], wait, events)


def idle(b: Bench, pool: str, seconds: float, *, install: bool) -> Figures:
    """Processor time of a worker in a second without a task."""
    b.clear()
    with b.worker(pool, CONCURRENCY[pool], install=install) as process:
        time.sleep(2)  # it has just started
        before = processor_time(process)
        time.sleep(seconds)
        after = processor_time(process)
    return {"main cpu": (after[0] - before[0]) / seconds, "cpu": (after[1] - before[1]) / seconds}


def contenders(arguments: argparse.Namespace, b: Bench, pool: str, *, first: bool) -> dict[str, Callable[[], Figures]]:
    """What is measured in turn, by name."""
    events = arguments.events
    ways: dict[str, Callable[[], Figures]] = {}
    if not arguments.without_plain:
        ways |= {f"{pool} posted": partial(posted, b, pool, events), f"{pool} plain": partial(plain, b, pool, events)}
        # A solo worker runs 20 of them a second: its hub fires ten timers at a time.
        if not arguments.without_countdown and pool != "solo":
            ways[f"{pool} native"] = partial(countdown, b, pool, events)
    if arguments.idle:
        ways[f"{pool} idle"] = partial(idle, b, pool, arguments.idle, install=True)
        ways[f"{pool} plain idle"] = partial(idle, b, pool, arguments.idle, install=False)
    if not first:
        return ways
    for text in filter(None, arguments.latencies.split(",")):
        ways[f"latency {text}"] = partial(posted, b, pool, events, latency=float(text))
    for count in map(int, filter(None, arguments.workers.split(","))):
        naps = int(NAPPING * count * CONCURRENCY[pool] / NAP[pool])
        ways[f"{WORDS[count]} posted"] = partial(posted, b, pool, events, workers=count)
        ways[f"{WORDS[count]} waiting"] = partial(posted, b, pool, naps, workers=count, nap=NAP[pool])
    return ways


def told(name: str, figures: dict[str, list[Any]]) -> str:
    """The medians of what was measured, in a line."""
    rates, main, everything = (
        statistics.median(figures[key]) if key in figures else None for key in (name, f"{name} main cpu", f"{name} cpu")
    )
    of, unit = (f"{rates:6.0f}/s", "1,000 tasks") if rates is not None else (" " * 8, "a second")
    cost = f"{main * 1000:6.1f} ms main, {everything * 1000:6.1f} ms in all" if main is not None else ""
    return f"{name:22} {of}  {cost} for {unit}"


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", default="prefork,threads,solo")
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="two rounds of 1,500 tasks")
    parser.add_argument("--without-countdown", action="store_true")
    parser.add_argument("--without-plain", action="store_true", help="only what the other options ask for")
    parser.add_argument("--workers", default="")
    parser.add_argument("--latencies", default="")
    parser.add_argument("--idle", type=float, default=0.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.events = 2, 1500
    pools = arguments.pools.split(",")
    figures: dict[str, list[Any]] = {}
    with bench() as b:
        for pool in pools:
            ways = contenders(arguments, b, pool, first=pool == pools[0])
            for _ in range(arguments.rounds):
                for name, measure in ways.items():
                    for figure, value in measure().items():
                        figures.setdefault(f"{name} {figure}".strip(), []).append(value)
                    # Whoever has no more patience has what there is.
                    keep(arguments.json, b.server, figures)
            for name in ways:
                print(told(name, figures), flush=True)


if __name__ == "__main__":
    main()
