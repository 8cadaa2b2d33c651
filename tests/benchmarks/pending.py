"""What a post, a claim and a cancel cost as pending events become many: a thousand to ten million, on one server.

usage: pending.py [--most 10000000] [--rounds 3] [--calls 100] [--quick] [--json FILE]

Beside each size, in turn, the same is measured on a server with a thousand. Figures are medians of round trips, in
microseconds. Ten million take 5 GB of memory; where there is less, the largest sizes are left out. depth.py measures
more operations, and loads by posts.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import depth
import psutil
from filling import Filling, id_of
from harness import keep
from rig.servers import RedisServer

from celery_dtimer import DTimer

#: Events of the server beside.
FEW = 1000

#: Bytes of memory that an event takes, with room to spare, and that are left to others.
AN_EVENT, LEFT = 600, 2 * 2**30


class Contender(depth.Contender):
    """A server and its pending events: as many after an operation as before."""

    def __init__(self, server: RedisServer, payload: bytes, most: int) -> None:
        self.timer = DTimer(server.url)
        self.payload = payload
        self.filling = Filling(self.timer, server.client(socket_timeout=60), payload, most)
        # What stands in the place of events that were cancelled, by their number.
        self.replaced: dict[int, str] = {}

    def post_one(self) -> str:
        """One event more, due within a year."""
        return self.timer.post(self.payload, 86_400 + random.uniform(0, depth.YEAR))

    def time_post(self) -> float:
        """Seconds of a post; its event goes again."""
        start = time.perf_counter()
        posted = self.post_one()
        taken = time.perf_counter() - start
        self.timer.cancel(posted)
        return taken

    def time_claim(self) -> float:
        """Seconds of a claim of eight and their confirm."""
        self.post_due()
        start = time.perf_counter()
        self.claim_and_confirm()
        return time.perf_counter() - start

    def time_cancel(self) -> float:
        """Seconds of the cancel of any event; another takes its place."""
        number = random.randrange(self.filling.count)
        chosen = self.replaced.get(number) or id_of(number)
        start = time.perf_counter()
        cancelled = self.timer.cancel(chosen)
        taken = time.perf_counter() - start
        assert cancelled
        self.replaced[number] = self.post_one()
        return taken


OPERATIONS: dict[str, Callable[[Contender], float]] = {
    "post": Contender.time_post,
    "claim + confirm of 8": Contender.time_claim,
    "cancel": Contender.time_cancel,
}


def sizes(most: int) -> list[int]:
    """Powers of ten from a thousand on, as far as this machine's memory goes."""
    room = psutil.virtual_memory().available - LEFT
    return [10**n for n in range(3, 8) if 10**n <= most and (10**n) * AN_EVENT <= max(room, 10**5 * AN_EVENT)]


def main() -> None:
    """Print a line a size and operation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.quick:
        given.most, given.calls = 100_000, 50
    figures: dict[str, list[float]] = {}
    with RedisServer() as few_server, RedisServer() as many_server:
        payload = depth.task_message(few_server.url)
        few, many = (Contender(server, payload, given.most) for server in (few_server, many_server))
        few.filling.fill_up_to(FEW)
        for size in sizes(given.most):
            start = time.monotonic()
            many.filling.fill_up_to(size)
            print(f"{size} events after {time.monotonic() - start:.1f} s", flush=True)
            for _ in range(given.rounds):
                for name, operation in OPERATIONS.items():
                    for key, one in ((f"{name}, few {size}", few), (f"{name} {size}", many)):
                        median = statistics.median(operation(one) for _ in range(given.calls))
                        figures.setdefault(key, []).append(median * 1e6)
            for name in OPERATIONS:
                this, beside = (statistics.median(figures[f"{name}{part} {size}"]) for part in ("", ", few"))
                print(f"  {name:22} {this:6.0f} us, {beside:6.0f} of {FEW}: {this / beside:.2f}", flush=True)
            keep(given.json, many_server, figures)


if __name__ == "__main__":
    main()
