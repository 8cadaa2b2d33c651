"""Posts by one thread: Celery's countdown, the timer's posts, and the least that any post has to do, in turn.

usage: posting.py [--posts 1000] [--rounds 5] [--json FILE]

One server of the benchmark's own, by TCP over loopback, is the broker and the timer's Redis. Each round measures in
turn: ``apply_async(countdown)`` of an app without the timer; ``post_in`` and ``post_many`` of a task; ``DTimer.post``
and ``DTimer.post_many`` of a payload as long as that task's; the raw round trip, a script call of HSET and ZADD by
redis-py, one by one and in pipelines of 500. Prints medians: microseconds a post by the clock, and of this process's
CPU, which a busy machine changes less; and the ratios of the targets.
"""

import argparse
import importlib.metadata
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

from celery import Celery  # noqa: E402
from peer_runs import RAW  # noqa: E402
from rig.servers import RedisServer  # noqa: E402

import celery_dtimer  # noqa: E402
from celery_dtimer import DTimer  # noqa: E402
from celery_dtimer.timer.posts import Post  # noqa: E402

#: Of a task, in seconds; far enough to be in nobody's way.
DELAY = 3600

#: Script calls in one pipeline.
PIPELINE = 500

#: Each ratio's name, the figure that is divided, the one that divides it, and the ratio that is wanted.
TARGETS = (
    ("task.post_in", "apply_async(countdown)", "task.post_in", 2.0),
    ("task.post_many", "apply_async(countdown)", "task.post_many", 8.0),
    ("DTimer.post", "raw round trip", "DTimer.post", 0.85),
    ("DTimer.post_many", "raw pipeline", "DTimer.post_many", 0.6),
)

#: Microseconds a post, by the clock and of this process's CPU.
Figure = dict[str, float]


def timed(act: Callable[[], object], posts: int) -> Figure:
    """Measure what makes so many posts."""
    began, cpu = time.perf_counter(), time.process_time()
    act()
    wall, spent = time.perf_counter() - began, time.process_time() - cpu
    return {"wall": wall / posts * 1e6, "cpu": spent / posts * 1e6}


def contenders(server: RedisServer, timer: DTimer, posts: int) -> dict[str, Callable[[], object]]:
    """What makes so many posts, each by its name."""
    plain = Celery("plain", broker=server.url)
    installed = celery_dtimer.install(Celery("timed", broker=server.url))
    native, task = (app.task(name="note")(note) for app in (plain, installed))
    text = "x" * 200
    # What the timer stores of that task's message.
    payload = task.post_in(DELAY, 1, text).peek().payload
    client = server.client()
    sha = client.script_load(RAW)

    def raw_call(where: Any, number: int) -> None:
        where.evalsha(sha, 2, "raw", "raw-due", f"id-{number}", number, payload)

    def raw_pipeline() -> None:
        for first in range(0, posts, PIPELINE):
            with client.pipeline(transaction=False) as pipe:
                for number in range(first, min(posts, first + PIPELINE)):
                    raw_call(pipe, number)
                pipe.execute()

    return {
        "apply_async(countdown)": lambda: [native.apply_async((n, text), countdown=DELAY) for n in range(posts)],
        "task.post_in": lambda: [task.post_in(DELAY, n, text) for n in range(posts)],
        "task.post_many": lambda: task.post_many([(n, text) for n in range(posts)], delay=DELAY),
        "DTimer.post": lambda: [timer.post(payload, DELAY) for _ in range(posts)],
        "DTimer.post_many": lambda: timer.post_many([Post(payload, DELAY) for _ in range(posts)]),
        "raw round trip": lambda: [raw_call(client, n) for n in range(posts)],
        "raw pipeline": raw_pipeline,
    }


def versions(server: RedisServer) -> dict[str, str]:
    """The versions of what was measured."""
    with server.client() as client:
        redis = client.info("server")["redis_version"]
    names = ("celery", "kombu", "redis", "celery-dtimer")
    packages = {name: importlib.metadata.version(name) for name in names}
    return {"python": platform.python_version(), "server": redis, **packages}


def measure(posts: int, rounds: int) -> dict[str, Any]:
    """Measure all, in turn."""
    figures: dict[str, list[Figure]] = {}
    with RedisServer() as server, DTimer(server.url) as timer, server.client() as client:
        compared = contenders(server, timer, posts)
        for made in contenders(server, timer, 2).values():
            made()  # connections, scripts and caches are there from here on
        for act in compared.values():
            act()
        for _ in range(rounds):
            for name, act in compared.items():
                client.flushall()
                figures.setdefault(name, []).append(timed(act, posts))
        return {"versions": versions(server), "figures": figures}


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--posts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options.posts, options.rounds)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(", ".join(f"{name} {version}" for name, version in found["versions"].items()))
    print(f"{'microseconds a post, medians':32} {'wall':>7} {'CPU':>7}")
    medians = {
        name: {by: statistics.median(figure[by] for figure in rounds) for by in ("wall", "cpu")}
        for name, rounds in found["figures"].items()
    }
    for name, median in medians.items():
        print(f"{name:32} {median['wall']:7.0f} {median['cpu']:7.0f}")
    print(f"{'ratios':32} {'wall':>7} {'CPU':>7} {'target':>7}")
    for name, over, under, target in TARGETS:
        wall, cpu = (medians[over][by] / medians[under][by] for by in ("wall", "cpu"))
        print(f"{name + ' to ' + over:32.32} {wall:7.2f} {cpu:7.2f} {target:7.2f}")


def note(number: int, text: str = "") -> None:
    """Be a task."""


if __name__ == "__main__":
    main()
