"""What operations cost over millions of pending events, beside the same over a thousand, in turn in one run.

usage: depth.py [--events 10000000] [--few 1000] [--rounds 5] [--calls 200] [--loaders 2] [--most-memory 16]

Loads the larger server with ``post_many`` from several processes, and stops at so many GiB of its memory. Prints the
bytes that an event takes, the longest script while loading, and for each operation the median of its round trip, and
the mean of the time that Redis takes for its scripts, both in microseconds.
"""

import argparse
import gc
import random
import statistics
import string
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import harness  # noqa: F401 - makes the repository's own package the one that is imported
from celery import Celery
from rig.servers import RedisServer

import celery_dtimer
from celery_dtimer import DTimer, Post

YEAR = 365 * 86_400
PAST = datetime(2020, 1, 1, tzinfo=UTC)

#: Events that one process keeps in its memory while it posts them.
PORTION = 50_000


def id_of(number: int) -> str:
    """An id that looks like any other, and is known all the same."""
    return str(uuid.UUID(int=(number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))


def task_message(url: str) -> bytes:
    """A task with one argument of 200 random characters, which compress badly, as it is stored."""
    app = Celery("proj", broker=url, backend=url, set_as_current=False)
    celery_dtimer.install(app)

    @app.task(name="proj.note")
    def note(_text: str) -> None: ...

    result = note.post_in(3600, "".join(random.choices(string.ascii_letters + string.digits, k=200)))
    payload = bytes(result.peek().payload)
    assert result.cancel()
    # A result is a cycle, and asks the backend for something when it goes: the server has to be there still.
    del result
    gc.collect()
    return payload


def load(url: str, payload: bytes, start: int, count: int) -> None:
    """Post events that are due within a year."""
    with DTimer(url) as timer:
        for first in range(start, start + count, PORTION):
            numbers = range(first, min(first + PORTION, start + count))
            timer.post_many(Post(payload, 86_400 + random.uniform(0, YEAR), id=id_of(n)) for n in numbers)


def load_in_processes(server: RedisServer, payload: bytes, events: int, loaders: int, most_memory: float) -> None:
    """The same by several processes, watched."""
    share = -(-events // loaders)
    argv = [sys.executable, __file__, "--load", server.url, payload.hex()]
    processes = [
        subprocess.Popen([*argv, str(start), str(min(share, events - start))]) for start in range(0, events, share)
    ]
    try:
        with server.client() as client:
            while any(process.poll() is None for process in processes):
                time.sleep(1)
                used = client.info("memory")["used_memory"]
                if used > most_memory * 2**30:
                    raise SystemExit(f"stopped: {used / 2**30:.1f} GiB of Redis memory")
    finally:
        for process in processes:
            process.kill()
            process.wait()


class Contender:
    """A server and how many events are pending there."""

    def __init__(self, server: RedisServer, events: int, payload: bytes) -> None:
        self.timer = DTimer(server.url)
        self.client = self.timer.shards[0].server.client
        self.events = events
        self.payload = payload
        self.posted = 0
        # Numbers of events that are pending and not yet used by an operation that ends them.
        self.victims = iter(random.sample(range(events), min(events, 100_000)))

    def any_id(self) -> str:
        """The id of some event, pending as a rule."""
        return id_of(random.randrange(self.events))

    def post(self) -> None:
        """One event more; cancels make up for it."""
        self.posted += 1
        self.timer.post(self.payload, 86_400 + random.uniform(0, YEAR))

    def post_due(self) -> None:
        """Eight events that are due."""
        self.timer.post_many(Post(self.payload, eta=PAST) for _ in range(8))

    def claim_and_confirm(self) -> None:
        """Eight events, in two calls."""
        store = self.timer.shards[0]
        queues = ("default",)
        call = store.claim(
            queues, listener="bench", holder="bench", nonce=uuid.uuid4().hex, room=8, lease_ms=10_000, ahead_ms=10
        )
        claimed = store.read_claim(store.ask(call), queues)
        assert len(claimed.deliveries) == 8
        store.ask(store.confirm("default", claimed.deliveries))

    def cancel(self) -> None:
        """One pending event."""
        assert self.timer.cancel(id_of(next(self.victims)))


def operations(one: Contender) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """{name: (what is measured, what is done before it and not measured)}."""
    timer, deep = one.timer, one.events // 2
    month = timedelta(days=30)

    def nothing() -> None: ...

    return {
        "post": (one.post, nothing),
        "cancel": (one.cancel, one.post),
        "claim + confirm of 8": (one.claim_and_confirm, one.post_due),
        "peek": (lambda: timer.peek(one.any_id()), nothing),
        "change_delay": (lambda: timer.change_delay(one.any_id(), 86_400 + random.uniform(0, YEAR)), nothing),
        "count": (timer.count, nothing),
        "count of a month": (lambda: timer.count(month, month), nothing),
        "upcoming, first 100": (lambda: timer.upcoming(limit=100), nothing),
        "the same with payloads": (lambda: timer.upcoming(limit=100, payloads=True), nothing),
        "upcoming, skip half": (lambda: timer.upcoming(limit=100, skip=deep), nothing),
    }


def measure(one: Contender, name: str, calls: int) -> tuple[float, float]:
    """Microseconds of a round trip (median) and of Redis (mean)."""
    operation, before = operations(one)[name]
    times, spent = [], 0
    for _ in range(calls):
        before()
        start_us = script_us(one)
        start = time.perf_counter()
        operation()
        times.append(time.perf_counter() - start)
        spent += script_us(one) - start_us
    return statistics.median(times) * 1e6, spent / calls


def script_us(one: Contender) -> int:
    """Microseconds that the server has spent in scripts."""
    return int(one.client.info("commandstats").get("cmdstat_evalsha", {}).get("usec", 0))


def longest_script(client: object) -> float:
    """Milliseconds of the slowest script that the slow log knows."""
    return max((entry["duration"] for entry in client.slowlog_get(1000)), default=0) / 1000  # type: ignore[attr-defined]


def main() -> None:
    """Load, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--loaders", type=int, default=2)
    parser.add_argument("--most-memory", type=float, default=16)
    parser.add_argument("--load", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        url, payload, start, count = arguments.load
        load(url, bytes.fromhex(payload), int(start), int(count))
        return
    options = {"slowlog-log-slower-than": "1000", "slowlog-max-len": "1000"}
    with RedisServer(options=options) as few_server, RedisServer(options=options) as many_server:
        payload = task_message(few_server.url)
        load(few_server.url, payload, 0, arguments.few)
        with many_server.client() as client:
            empty = client.info("memory")["used_memory"]
            start = time.monotonic()
            load_in_processes(many_server, payload, arguments.events, arguments.loaders, arguments.most_memory)
            taken = time.monotonic() - start
            info = client.info("memory")
            used, resident = info["used_memory"], info["used_memory_rss"]
            print(
                f"{arguments.events} events of {len(payload)} bytes: {(used - empty) / arguments.events:.0f} bytes "
                f"each, {used / 2**30:.2f} GiB (resident {resident / 2**30:.2f}); loaded in {taken:.0f} s "
                f"({arguments.events / taken:.0f}/s), longest script {longest_script(client):.1f} ms",
                flush=True,
            )
            client.slowlog_reset()
            contenders = [
                Contender(few_server, arguments.few, payload),
                Contender(many_server, arguments.events, payload),
            ]
            print(
                f"{'us of round trip (and of Redis)':31} {arguments.few:>15} {arguments.events:>15}   ratio", flush=True
            )
            for name in operations(contenders[0]):
                rounds = [[measure(one, name, arguments.calls) for one in contenders] for _ in range(arguments.rounds)]
                few, many = ([statistics.median(r[i][part] for r in rounds) for part in (0, 1)] for i in (0, 1))
                cells = "  ".join(f"{trip:6.0f} ({redis:5.0f})" for trip, redis in (few, many))
                print(f"{name:31} {cells}   {many[0] / few[0]:.2f} ({many[1] / max(few[1], 1):.2f})", flush=True)
            print(f"longest script of these on the larger server: {longest_script(client):.1f} ms")


if __name__ == "__main__":
    main()
