"""What others notice while a million events drain that are all due at once.

usage: flood.py [--events 1000000] [--others 1000] [--seconds 15] [--max-events 64] [--workers]

Two listeners in two processes drain the flood; with ``--workers``, two workers (prefork, one process each) whose tasks
do nothing. Meanwhile events of two other queues are posted, half of them due at once and half a second later, and
events that wait are cancelled. The queue "own" has a listener, or worker, of its own; for "shared" those of the flood
claim too. When all of these have run, the rest of the flood is dropped with its server.
"""

import argparse
import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from harness import Bench, bench, percentiles
from listening import listening, read_notes
from rig.outsider import Outsider
from rig.waiting import wait_until

from celery_dtimer import DTimer, Post

PAYLOAD = b"x" * 200
FLOOD, OWN, SHARED = "flood", "own", "shared"

#: (the queues that a process consumes, how many such processes)
CONSUMERS = ((OWN, 1), (f"{FLOOD},{SHARED}", 2))

#: Scripts of so many microseconds are listed by Redis, and the last so many of them.
SLOW_US, SLOW_KEPT = 2000, 5000


def task_message(b: Bench, task: str, queue: str) -> bytes:
    """A call of one of the app's tasks, as it is stored."""
    result = b.app.tasks[f"bench_app.{task}"].post((), delay=3600, queue=queue)
    payload = bytes(result.peek().payload)
    assert result.cancel()
    return payload


def post_flood(kind: type[DTimer], url: str, payload: bytes, events: int) -> None:
    """Post events that are all due, at one instant."""
    eta = datetime(2020, 1, 1, tzinfo=UTC)
    with kind(url, queues=(FLOOD,)) as timer:
        for posted in range(0, events, 50_000):
            timer.post_many(Post(payload, eta=eta) for _ in range(min(50_000, events - posted)))


def at_a_pace(
    kind: type[DTimer],
    url: str,
    queue: str,
    others: int,
    seconds: float,
    do: Callable[[DTimer, str], float],
    *,
    shards: int = 1,
) -> list[float]:
    """Do something with so many new ids, evenly; returns what each took, in seconds."""
    taken = []
    start = time.monotonic()
    with kind(url, queues=(queue,), shards=shards) as timer:
        for number in range(others):
            time.sleep(max(0.0, start + seconds * number / others - time.monotonic()))
            taken.append(do(timer, f"{queue}-{number}"))
    return taken


def post_one(payload: bytes) -> Callable[[DTimer, str], float]:
    """Post an event; takes so many seconds."""

    def do(timer: DTimer, event_id: str) -> float:
        start = time.perf_counter()
        timer.post(payload, random.choice((0, 1)), id=event_id)
        return time.perf_counter() - start

    return do


def cancel_one(timer: DTimer, event_id: str) -> float:
    """Post an event that waits long, and cancel it; the cancel takes so many seconds."""
    timer.post(PAYLOAD, 86_400, id=event_id)
    start = time.perf_counter()
    assert timer.cancel(event_id)
    return time.perf_counter() - start


@contextlib.contextmanager
def draining(b: Bench, url: str, max_events: int, *, workers: bool) -> Iterator[list[Path]]:
    """Start all consumers; yields the files in which they note what they ran."""
    with contextlib.ExitStack() as stack:
        files = []
        for queues, processes in CONSUMERS:
            files.append(b.notes if workers else b.folder / queues)
            for _ in range(processes):
                if workers:
                    stack.enter_context(b.worker("prefork", 1, "-Q", queues))
                else:
                    stack.enter_context(listening(url, files[-1], queues=queues, max_events=max_events))
        yield files


def main() -> None:
    """Post, drain, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--others", type=int, default=1000, help="so many of each kind")
    parser.add_argument("--seconds", type=float, default=15, help="for so long others are posted")
    parser.add_argument("--max-events", type=int, default=64, help="of a listener; a worker has its own default")
    parser.add_argument("--workers", action="store_true")
    arguments = parser.parse_args()
    with bench() as b, b.server.client(1) as client:
        url = b.server.url_of(1)
        kind: type[DTimer] = Outsider if arguments.workers else DTimer
        with kind(url) as timer:
            due = timer.shards[0].keys.due(FLOOD)
        payloads = {
            queue: task_message(b, task, queue) if arguments.workers else PAYLOAD
            for queue, task in ((FLOOD, "nothing"), (OWN, "mark"), (SHARED, "mark"))
        }
        jobs = {
            **{f"posts to {queue!r}": (queue, post_one(payloads[queue])) for queue in (OWN, SHARED)},
            "cancels": ("never", cancel_one),
        }
        post_flood(kind, url, payloads[FLOOD], arguments.events)
        client.config_set("slowlog-log-slower-than", SLOW_US)
        client.config_set("slowlog-max-len", SLOW_KEPT)
        client.slowlog_reset()
        with draining(b, url, arguments.max_events, workers=arguments.workers) as files:

            def left() -> int:
                return client.zcard(due)

            def run() -> dict[str, tuple[float, float]]:
                found: dict[str, tuple[float, float]] = {}
                for file in set(files):
                    found |= read_notes(file)
                return {event_id: note for event_id, note in found.items() if event_id.startswith((OWN, SHARED))}

            before, start = left(), time.monotonic()
            taken: dict[str, list[float]] = {}
            threads = [
                threading.Thread(
                    target=lambda name=name, queue=queue, do=do: taken.update(
                        {name: at_a_pace(kind, url, queue, arguments.others, arguments.seconds, do)}
                    )
                )
                for name, (queue, do) in jobs.items()
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            drained, seconds = before - left(), time.monotonic() - start
            wait_until(lambda: len(run()) == 2 * arguments.others, "the other queues' events", timeout=300)
            rest = left()
        what = "2 workers" if arguments.workers else "2 listeners"
        print(f"{what}: {drained} of {arguments.events} events drained in {seconds:.1f} s: {drained / seconds:.0f}/s")
        print(f"measuring stopped when the others had run: {rest} events of the flood were dropped with the server")
        for name in jobs:
            print(f"{name:20} {percentiles(taken[name])}  {len(taken[name])}")
        for queue in (OWN, SHARED):
            latenesses = [lateness for event_id, (_, lateness) in run().items() if event_id.startswith(queue)]
            print(f"lateness in {queue!r:8} {percentiles(latenesses)}  {len(latenesses)}")
        slow = sorted((entry["duration"] / 1000 for entry in client.slowlog_get(SLOW_KEPT)), reverse=True)
        longest = ", ".join(f"{ms:.1f}" for ms in slow[:5]) or "none"
        print(f"longest scripts      {longest} ms; {len(slow)} of {SLOW_US / 1000:.0f} ms or more")


if __name__ == "__main__":
    main()
