"""Idle lateness of posted tasks beside Celery's own countdown: the same worker, the same spread, in turn.

usage: lateness.py [--pools prefork] [--events 500] [--span 10] [--rounds 3] [--load 100] [--json FILE]
--pools all: one after the other. --load: so many plain tasks of 10 ms a second beside them, half of what two slots do.
--json: what README.md says, in a file.
"""

import argparse
import contextlib
import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from harness import Bench, bench, keep, percentiles
from rig.pools import POOLS


def measure(b: Bench, how: str, events: int, span: float) -> list[float]:
    """Post tasks that come due over ``span`` seconds, and return how late each ran, in seconds."""
    b.clear()
    # Posting is over before the first one is due: what is measured is an idle worker.
    start = time.time() + 0.8 + events / 300
    for instant in sorted(start + random.uniform(0, span) for _ in range(events)):
        # An eta, not a countdown: that is counted from somewhere within the call.
        eta = datetime.fromtimestamp(instant, UTC)
        if how == "countdown":
            b.note.apply_async((instant,), eta=eta)
        else:
            b.note.post_at(eta, instant)
    return [lateness for _, lateness in b.wait_for_runs(events, span + 30)]


@contextlib.contextmanager
def plain_load(b: Bench, per_second: int) -> Iterator[None]:
    """Send plain tasks to the worker, at an even pace, until the end of the block."""
    ended = threading.Event()

    def send() -> None:
        start, sent = time.monotonic(), 0
        while not ended.wait(max(0.0, start + sent / per_second - time.monotonic())):
            b.busy.delay(0.01)
            sent += 1

    thread = threading.Thread(target=send) if per_second else None
    if thread:
        thread.start()
    yield
    ended.set()
    if thread:
        thread.join()


def main() -> None:
    """Print a line a round, and one for all rounds of each pool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", default="prefork")
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--span", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    pools = POOLS if arguments.pools == "all" else arguments.pools.split(",")
    ways = {"countdown": "native", "post_at": "ours"}
    load = "load" if arguments.load else "idle"
    collected: dict[str, list[list[float]]] = {f"{load} {pool} {ways[way]}": [] for pool in pools for way in ways}
    with bench() as b:
        for pool in pools:
            with b.worker(pool):
                for number in range(arguments.rounds):
                    for way in ways:
                        with plain_load(b, arguments.load):
                            latenesses = measure(b, way, arguments.events, arguments.span)
                        collected[f"{load} {pool} {ways[way]}"].append(latenesses)
                        early = f"earliest {min(latenesses) * 1000:.2f} ms"
                        print(f"round {number + 1}  {pool:8} {way:10} {percentiles(latenesses)}  {early}", flush=True)
            keep(arguments.json, b.server, collected)
    for name, rounds in collected.items():
        latenesses = [late for found in rounds for late in found]
        print(f"all      {name:20} {percentiles(latenesses)}  {len(latenesses)} events")


if __name__ == "__main__":
    main()
