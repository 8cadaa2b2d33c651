"""What others notice while a million events drain that are all due at once.

usage: flood.py [--events 1000000] [--others 1000] [--max-events 64] [--shared]

Two listeners in two processes drain the flood. Meanwhile events of another queue are posted, some due at once and some
a second later, and events that wait are cancelled. The other queue has a listener of its own; with ``--shared``, those
of the flood claim for both, and the queue's name comes after the flood's.
"""

import argparse
import random
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from harness import percentiles
from listening import listening, read_notes
from rig.servers import RedisServer
from rig.waiting import wait_until

from celery_dtimer import DTimer, Post

PAYLOAD = b"x" * 200
FLOOD, OTHER = "flood", "other"

#: Scripts of so many microseconds are listed by Redis, and the last so many of them.
SLOW_US, SLOW_KEPT = 2000, 5000


def post_flood(url: str, events: int) -> None:
    """Post events that are all due, at one instant."""
    eta = datetime(2020, 1, 1, tzinfo=UTC)
    with DTimer(url, queues=(FLOOD,)) as timer:
        for _ in range(0, events, 50_000):
            timer.post_many(Post(PAYLOAD, eta=eta) for _ in range(min(50_000, events)))


def post_others(url: str, others: int, seconds: float, calls: list[float]) -> None:
    """Post events of the other queue; appends what each call took, in seconds."""
    with DTimer(url, queues=(OTHER,)) as timer:
        for number in range(others):
            start = time.perf_counter()
            timer.post(PAYLOAD, random.choice((0, 1)), id=f"other{number}")
            calls.append(time.perf_counter() - start)
            time.sleep(seconds / others)


def cancel_some(url: str, others: int, seconds: float, calls: list[float]) -> None:
    """Post events that wait long, and cancel each; appends what each cancel took, in seconds."""
    with DTimer(url, queues=("never",)) as timer:
        for number in range(others):
            timer.post(PAYLOAD, 86_400, id=f"never{number}")
            start = time.perf_counter()
            assert timer.cancel(f"never{number}")
            calls.append(time.perf_counter() - start)
            time.sleep(seconds / others)


def main() -> None:
    """Post, drain, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--others", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=15, help="for so long others are posted")
    parser.add_argument("--max-events", type=int, default=64)
    parser.add_argument("--shared", action="store_true")
    arguments = parser.parse_args()
    options = {"slowlog-log-slower-than": str(SLOW_US), "slowlog-max-len": str(SLOW_KEPT)}
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer(options=options))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        post_flood(server.url, arguments.events)
        client = stack.enter_context(server.client())
        client.slowlog_reset()
        queues = f"{FLOOD},{OTHER}" if arguments.shared else FLOOD
        if not arguments.shared:
            stack.enter_context(listening(server.url, folder / OTHER, queues=OTHER))
        start = time.monotonic()
        for _ in range(2):
            stack.enter_context(listening(server.url, folder / FLOOD, queues=queues, max_events=arguments.max_events))
        posts: list[float] = []
        cancels: list[float] = []
        jobs = [
            threading.Thread(target=job, args=(server.url, arguments.others, arguments.seconds, calls))
            for job, calls in ((post_others, posts), (cancel_some, cancels))
        ]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        drained = arguments.events - client.zcard(f"{{dt:0}}:due:{FLOOD}")
        taken = time.monotonic() - start
        print(f"{drained} of {arguments.events} events drained in {taken:.1f} s: {drained / taken:.0f}/s", flush=True)
        print(f"posts of others     {percentiles(posts)}")
        print(f"cancels             {percentiles(cancels)}")
        noted = folder / (FLOOD if arguments.shared else OTHER)
        wait_until(lambda: noted.read_text().count(OTHER) >= arguments.others, "the other queue's events", timeout=300)
        others = {event_id: run for event_id, run in read_notes(noted).items() if event_id.startswith(OTHER)}
        print(f"lateness of others  {percentiles([lateness for _, lateness in others.values()])}")
        slow = sorted((entry["duration"] / 1000 for entry in client.slowlog_get(SLOW_KEPT)), reverse=True)
        longest = ", ".join(f"{ms:.1f}" for ms in slow[:5]) or "none"
        print(f"longest scripts     {longest} ms; {len(slow)} of {SLOW_US / 1000:.0f} ms or more")


if __name__ == "__main__":
    main()
