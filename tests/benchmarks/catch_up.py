"""A backlog after an outage, under a catch-up limit: the rate achieved, and how late new work is meanwhile.

usage: catch_up.py [--events 200000] [--queues 1] [--rate 500] [--shards 1] [--listeners 3] [--max-events 64]
       [--seconds 20] [--workers]

So many events that are overdue for years stand in some queues; listeners (with ``--workers``: two prefork workers of
two processes, whose tasks do nothing) claim them under the limit. Meanwhile new events are posted into the first of
these queues, and into one that has no backlog, due at once or a second later. The rate is counted in Redis: what has
left the backlog, over the stretch. Then the limit is ended, and the rate counted once more.
"""

import argparse
import contextlib
import random
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from flood import PAYLOAD, at_a_pace, post_one, task_message
from harness import Bench, bench, percentiles
from listening import listening, read_notes
from rig.outsider import Outsider
from rig.waiting import wait_until

from celery_dtimer import DTimer, Post

#: When the backlog was due, and another queue.
OVERDUE, FRESH = datetime(2020, 1, 1, tzinfo=UTC), "fresh"

#: New events in each of both queues, a second.
NEW = 25


def post_backlog(timer: DTimer, queue: str, payload: bytes, events: int) -> None:
    """Store events that are overdue."""
    for posted in range(0, events, 50_000):
        timer.post_many(Post(payload, eta=OVERDUE, queue=queue) for _ in range(min(50_000, events - posted)))


def measure(b: Bench, arguments: argparse.Namespace) -> None:
    """Post, limit, claim, print."""
    url, queues = b.server.url_of(1), [f"late{number}" for number in range(arguments.queues)]
    kind: type[DTimer] = Outsider if arguments.workers else DTimer
    late = task_message(b, "nothing", "late0") if arguments.workers else PAYLOAD
    new = task_message(b, "mark", FRESH) if arguments.workers else PAYLOAD
    with contextlib.ExitStack() as stack:
        timer = stack.enter_context(kind(url, shards=arguments.shards))
        start = time.monotonic()
        for queue in queues:
            post_backlog(timer, queue, late, arguments.events // len(queues))
        print(f"{arguments.events} overdue events in {len(queues)} queues posted in {time.monotonic() - start:.0f} s")
        timer.limit_catch_up(arguments.rate)
        names, files = ",".join([*queues, FRESH]), [b.notes if arguments.workers else b.folder / "listened"]
        for _ in range(2 if arguments.workers else arguments.listeners):
            stack.enter_context(
                b.worker("prefork", 2, "-Q", names)
                if arguments.workers
                else listening(url, files[0], queues=names, max_events=arguments.max_events, shards=arguments.shards)
            )
        rate_of(timer, 2)
        achieved: list[float] = []
        counting = threading.Thread(target=lambda: achieved.append(rate_of(timer, arguments.seconds)))
        counting.start()
        posting = [
            threading.Thread(
                target=at_a_pace,
                args=(kind, url, queue, round(NEW * arguments.seconds), arguments.seconds, post_one(new)),
                kwargs={"shards": arguments.shards},
            )
            for queue in (queues[0], FRESH)
        ]
        for thread in posting:
            thread.start()
        for thread in (*posting, counting):
            thread.join()
        count = round(NEW * arguments.seconds)

        def latenesses(queue: str) -> list[float]:
            return [late for event, (_, late) in read_notes(Path(files[0])).items() if event.startswith(f"{queue}-")]

        wait_until(lambda: all(len(latenesses(q)) == count for q in (queues[0], FRESH)), "the new events", 120)
        share = achieved[0] / arguments.rate
        print(f"rate {arguments.rate:g}/s: {achieved[0]:.1f}/s over {arguments.seconds:g} s, {share:.1%} of it")
        print(f"lateness of new work in another queue    {percentiles(latenesses(FRESH))}")
        print(f"lateness of new work in the same queue   {percentiles(latenesses(queues[0]))}")
        timer.limit_catch_up(None)
        print(f"without the limit: {rate_of(timer, 3):.0f}/s")


def rate_of(timer: DTimer, seconds: float) -> float:
    """Count how many overdue events a second are claimed in so many seconds."""
    before, start = overdue(timer), time.monotonic()
    time.sleep(seconds)
    return (before - overdue(timer)) / (time.monotonic() - start)


def overdue(timer: DTimer) -> int:
    """Count what is overdue by more than ten seconds."""
    return timer.shards.count(duration_ms=-10_000).pending


def main() -> None:
    """Measure one set-up."""
    random.seed(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--queues", type=int, default=1)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--listeners", type=int, default=3, help="processes with one listener each")
    parser.add_argument("--max-events", type=int, default=64, help="of a listener; a worker has its own default")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--workers", action="store_true")
    with bench() as b:
        measure(b, parser.parse_args())


if __name__ == "__main__":
    main()
