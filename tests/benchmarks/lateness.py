"""Idle lateness of posted tasks beside Celery's own countdown: the same worker, the same spread, in turn.

usage: lateness.py [--pools prefork] [--events 500] [--span 10] [--rounds 3]; --pools all: one after the other
"""

import argparse
import random
import time
from datetime import UTC, datetime

from harness import Bench, bench, percentiles
from rig.pools import POOLS


def measure(b: Bench, how: str, events: int, span: float) -> list[float]:
    """Post tasks that come due over ``span`` seconds, and return how late each ran, in seconds."""
    b.clear()
    # Posting is over before the first one is due: what is measured is an idle worker.
    start = time.time() + 1.5 + events / 300
    for instant in sorted(start + random.uniform(0, span) for _ in range(events)):
        # An eta, not a countdown: that is counted from somewhere within the call.
        eta = datetime.fromtimestamp(instant, UTC)
        if how == "countdown":
            b.note.apply_async((instant,), eta=eta)
        else:
            b.note.post_at(eta, instant)
    return [lateness for _, lateness in b.wait_for_runs(events, span + 30)]


def main() -> None:
    """Print a line a round, and one for all rounds of each pool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", default="prefork")
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--span", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    pools = POOLS if arguments.pools == "all" else arguments.pools.split(",")
    ways = ("countdown", "post_at")
    collected: dict[tuple[str, str], list[float]] = {(pool, way): [] for pool in pools for way in ways}
    with bench() as b:
        for pool in pools:
            with b.worker(pool):
                for number in range(arguments.rounds):
                    for way in ways:
                        latenesses = measure(b, way, arguments.events, arguments.span)
                        collected[pool, way] += latenesses
                        early = f"earliest {min(latenesses) * 1000:.2f} ms"
                        print(f"round {number + 1}  {pool:8} {way:10} {percentiles(latenesses)}  {early}", flush=True)
    for (pool, way), latenesses in collected.items():
        print(f"all      {pool:8} {way:10} {percentiles(latenesses)}  {len(latenesses)} events")


if __name__ == "__main__":
    main()
