"""How soon after a SIGTERM a worker has given back what it had not started, in each pool.

usage: shutdown.py [--pools all] [--trials 5]
"""

import argparse
import time

from harness import Bench, bench, percentiles
from rig.pools import POOLS
from rig.waiting import wait_until

from celery_dtimer import State

SLOTS, RUN = 2, 3.0  # tasks at a time, and seconds that each takes


def measure(b: Bench, pool: str) -> float:
    """Seconds from the signal until all that had not started is pending again."""
    b.clear()
    slots = 1 if pool == "solo" else SLOTS
    with b.worker(pool, slots) as worker:
        results = [b.nap.post_in(0, RUN) for _ in range(slots * 3)]

        def leased() -> int:
            return sum((info := result.peek()) is not None and info.state is State.LEASED for result in results)

        b.wait_for_runs(slots, 10)
        wait_until(lambda: leased() > slots, "the worker to claim more than it runs")
        start = time.monotonic()
        worker.terminate()
        wait_until(lambda: leased() <= slots, "the rest to be given back", 30)
        return time.monotonic() - start


def main() -> None:
    """Print a line a pool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", default="all")
    parser.add_argument("--trials", type=int, default=5)
    arguments = parser.parse_args()
    with bench() as b:
        for pool in POOLS if arguments.pools == "all" else arguments.pools.split(","):
            figures = [measure(b, pool) for _ in range(arguments.trials)]
            print(f"{pool:8} given back after {percentiles(figures)}  {arguments.trials} trials", flush=True)


if __name__ == "__main__":
    main()
