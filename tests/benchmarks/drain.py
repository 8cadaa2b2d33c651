"""How fast a worker drains tasks that are all due: posted ones, plain ones in its queue, countdowns in its memory.

usage: drain.py [--pools prefork,threads,solo] [--events 5000] [--rounds 3]
"""

import argparse
import statistics
import time
from functools import partial

from harness import Bench, bench, in_turn, rate

CONCURRENCY = {"prefork": 2, "threads": 8, "solo": 1}


def posted(b: Bench, pool: str, events: int) -> float:
    """Tasks per second, of posted tasks that are all due when the worker starts."""
    b.clear()
    for _ in range(events):
        b.note.post_in(0, time.time())
    with b.worker(pool, CONCURRENCY[pool]):
        return rate(b.wait_for_runs(events, 120))


def plain(b: Bench, pool: str, events: int) -> float:
    """The same of plain tasks in the broker's queue."""
    b.clear()
    for _ in range(events):
        b.note.delay(time.time())
    with b.worker(pool, CONCURRENCY[pool]):
        return rate(b.wait_for_runs(events, 120))


def countdown(b: Bench, pool: str, events: int) -> float:
    """The same of tasks with a countdown that a worker holds in its memory when they come due."""
    b.clear()
    with b.worker(pool, CONCURRENCY[pool]):
        due = time.time() + 3 + events / 250
        for _ in range(events):
            b.note.apply_async((due,), countdown=due - time.time())
        return rate(b.wait_for_runs(events, 300))


def main() -> None:
    """Print the medians of each pool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", default="prefork,threads,solo")
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-countdown", action="store_true")
    arguments = parser.parse_args()
    with bench() as b:
        for pool in arguments.pools.split(","):
            ways = {"posted": posted, "plain": plain}
            if not arguments.without_countdown and pool != "solo":
                ways["countdown"] = countdown
            contenders = {name: partial(way, b, pool, arguments.events) for name, way in ways.items()}
            figures = in_turn(arguments.rounds, contenders)
            medians = {name: statistics.median(values) for name, values in figures.items()}
            row = "  ".join(f"{name} {median:6.0f}/s" for name, median in medians.items())
            print(f"{pool:8} {row}  posted/plain {medians['posted'] / medians['plain']:.2f}", flush=True)


if __name__ == "__main__":
    main()
