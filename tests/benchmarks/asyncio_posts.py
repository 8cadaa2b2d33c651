"""Posts a second by one thread: awaited ones beside those that wait, in turn, on one server of the benchmark's own.

usage: asyncio_posts.py [--posts 2000] [--rounds 5]

Prints the median of some rounds: posts a second, and microseconds of this process's CPU a post, which a busy machine
changes less. ``one connection``: one post after the other. ``gather``: a hundred at a time, over all connections of the
loop. ``in threads``: the sync call by ``asyncio.to_thread``, a hundred at a time.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

from celery import Celery  # noqa: E402
from rig.servers import RedisServer  # noqa: E402

import celery_dtimer  # noqa: E402
from celery_dtimer import AsyncDTimer, DTimer  # noqa: E402

#: Posts at a time, where they are not one after the other.
AT_A_TIME = 100

Figure = tuple[float, float]


def timed(act: Callable[[], object], posts: int) -> Figure:
    """Posts a second, and microseconds of CPU a post."""
    began, cpu = time.perf_counter(), time.process_time()
    act()
    return posts / (time.perf_counter() - began), (time.process_time() - cpu) / posts * 1e6


def one_by_one(post: Callable[[], object], posts: int) -> Figure:
    """Calls that wait."""
    return timed(lambda: [post() for _ in range(posts)], posts)


def awaited(connect: Callable[[], AsyncDTimer | None], post: Callable[..., Awaitable[object]], posts: int, width: int):
    """Calls that are awaited, ``width`` at a time."""

    async def main():
        timer = connect()
        made = [timer] if timer else []
        await post(*made)  # the connection and the scripts are there from here on
        began, cpu = time.perf_counter(), time.process_time()
        for _ in range(posts // width):
            if width == 1:
                await post(*made)
            else:
                await asyncio.gather(*(post(*made) for _ in range(width)))
        figure = posts / (time.perf_counter() - began), (time.process_time() - cpu) / posts * 1e6
        if timer:
            await timer.close()
        return figure

    return asyncio.run(main())


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--posts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    posts = options.posts
    with RedisServer() as server, DTimer(server.url) as timer:
        app = celery_dtimer.install(Celery("bench", broker="memory://"))
        app.conf.dtimer_url = server.url
        task = app.task(name="note")(note)
        event, place = b"p" * 100, server.url

        def connect():
            return AsyncDTimer(place)

        def nothing():
            return None

        contenders: dict[str, Callable[[], Figure]] = {
            "DTimer.post                      one connection": lambda: one_by_one(lambda: timer.post(event, 60), posts),
            "await AsyncDTimer.post           one connection": lambda: awaited(
                connect, lambda made: made.post(event, 60), posts, 1
            ),
            "await AsyncDTimer.post           gather": lambda: awaited(
                connect, lambda made: made.post(event, 60), posts, AT_A_TIME
            ),
            "await to_thread(DTimer.post)     in threads": lambda: awaited(
                nothing, lambda: asyncio.to_thread(timer.post, event, 60), posts, AT_A_TIME
            ),
            "task.post_in                     one connection": lambda: one_by_one(lambda: task.post_in(60, 1), posts),
            "await task.apost_in              one connection": lambda: awaited(
                nothing, lambda: task.apost_in(60, 1), posts, 1
            ),
            "await task.apost_in              gather": lambda: awaited(
                nothing, lambda: task.apost_in(60, 1), posts, AT_A_TIME
            ),
            "await to_thread(task.post_in)    in threads": lambda: awaited(
                nothing, lambda: asyncio.to_thread(task.post_in, 60, 1), posts, AT_A_TIME
            ),
        }
        timer.post(event, 60)
        task.post_in(60, 1)
        figures: dict[str, list[Figure]] = {name: [] for name in contenders}
        for _ in range(options.rounds):
            for name, measure in contenders.items():
                figures[name].append(measure())
                with server.client() as client:
                    client.flushall()
                timer.post(event, 60)
        print(f"{'':48} posts/s   CPU us")
        for name, found in figures.items():
            rate, cpu = (statistics.median(column) for column in zip(*found, strict=True))
            print(f"{name:48} {rate:7.0f}  {cpu:7.0f}")


def note(number: int) -> None:
    """Be a task."""


if __name__ == "__main__":
    main()
