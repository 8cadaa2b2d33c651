"""What a pending task takes of Redis' memory, and what its message costs to write and to read: plain and compressed.

Times are of the processor, in this process: what else the machine does matters little.

usage: memory.py [--events 100000] [--posts 500] [--quick] [--json FILE]

One message a row: the task has a number for its argument, or 200 characters of one kind.
"""

import argparse
import gc
import random
import string
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from celery import Celery
from harness import keep
from rig.servers import RedisServer

import celery_dtimer
from celery_dtimer import DTimer, Post, message

WORDS = tuple(
    word.strip(".,:;()'\"`").lower() for word in (Path(__file__).parents[2] / "README.md").read_text().split()
)


def arguments_of_tasks() -> dict[str, object]:
    """The kinds of messages, by the argument of their task."""
    chance = random.Random(1)  # the same in each run
    return {
        "a number": 12345,
        "one letter 200 times": "x" * 200,
        "200 of English words": " ".join(chance.choices(WORDS, k=80))[:200],
        "200 random characters": "".join(chance.choices(string.ascii_letters + string.digits, k=200)),
    }


def bytes_of_an_event(timer: DTimer, payload: bytes, events: int) -> float:
    """Bytes of Redis' memory for each of so many events."""
    client = timer.shards[0].server.client
    client.execute_command("FLUSHDB", "SYNC")
    before = client.info("memory")["used_memory"]
    timer.post_many(Post(payload, 86_400 + n / 100) for n in range(events))
    return float(client.info("memory")["used_memory"] - before) / events


def microseconds(function: Callable[[], object], times: int = 2000) -> float:
    """The least of five means: what else the machine does only adds to it."""
    means = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(times):
            function()
        means.append((time.process_time() - start) / times)
    return min(means) * 1e6


def main() -> None:
    """Print a row for each message, and the rates of posting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--posts", type=int, default=500)
    parser.add_argument("--quick", action="store_true", help="of 5,000 events, and a hundred posts")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.events, arguments.posts = 5000, 100
    figures: dict[str, list[float]] = {}
    with RedisServer() as server, DTimer(server.url) as timer:
        app = Celery("proj", broker=server.url_of(1), backend=server.url_of(2), set_as_current=False)
        app.conf.dtimer_url = server.url
        celery_dtimer.install(app)

        @app.task(name="proj.note")
        def note(_argument: object) -> None: ...

        print(f"{'argument':23} {'form':10} {'message':>7} {'event':>6}   write    read")
        for name, argument in arguments_of_tasks().items():
            result = note.post_in(86_400, argument)
            stored = message.decode(result.peek().payload, result.id, "celery")
            for form, compress in (("plain", False), ("compressed", True)):
                payload = message.encode(stored, result.id, "celery", compress=compress)
                write = microseconds(partial(message.encode, stored, result.id, "celery", compress=compress))
                read = microseconds(partial(message.decode, payload, result.id, "celery"))
                taken = bytes_of_an_event(timer, payload, arguments.events)
                if compress:
                    figures[name] = [taken]
                    keep(arguments.json, server, figures)
                print(f"{name:23} {form:10} {len(payload):7} {taken:6.0f}  {write:5.1f}us {read:5.1f}us", flush=True)
        long = str(arguments_of_tasks()["200 random characters"])
        cost = microseconds(partial(note.post_in, 86_400, long), arguments.posts)
        print(f"post_in with 200 random characters: {cost:.0f}us")
        # Results are cycles, and ask the backend for something when they go: it has to be there still.
        del result
        gc.collect()
        timer.shards[0].server.client.flushdb()


if __name__ == "__main__":
    main()
