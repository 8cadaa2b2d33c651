"""What an event costs, and an idle listener, and how late events are, as listeners become many.

usage: listeners.py [--listeners 1,8,64,256] [--rate 100] [--seconds 15] [--idle 10] [--shards 1]
       [--quick] [--json FILE]

Three loads: nothing but one event that is due tomorrow (idle); events that come due at random, posted before that
(ahead); and events that are posted one by one, to be delivered at once (now). "Calls" are the calls of scripts without
those of the posts; "commands" are all that listeners sent, blocking ones included.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import keep, percentiles
from listening import many_listening, read_notes
from rig.servers import RedisServer
from rig.waiting import wait_until

from celery_dtimer import DTimer, Post

PAYLOAD = b"x" * 200

#: What listeners send. Commands that scripts run are counted by Redis too, but none of these is.
SENT = ("evalsha", "eval", "blpop", "script|load")


@dataclass(frozen=True)
class Commands:
    """How many commands a server has had from clients."""

    calls: int
    sent: int


def commands(timer: DTimer) -> Commands:
    """Read the counts of the timer's server."""
    stats = timer.shards[0].server.client.info("commandstats")
    counts = {name: stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in SENT}
    return Commands(counts["evalsha"] + counts["eval"], sum(counts.values()))


def idle(timer: DTimer, listeners: int, seconds: float) -> float:
    """Commands a second of each listener while nothing comes due."""
    before = commands(timer)
    time.sleep(seconds)
    sent = commands(timer).sent - before.sent
    return sent / seconds / listeners


def post_ahead(timer: DTimer, events: int, seconds: float) -> int:
    """Post events that come due over so many seconds; returns how many calls that took."""
    # Posting is over before the first one is due.
    start = 1.5 + events / 5000
    timer.post_many(Post(PAYLOAD, start + random.uniform(0, seconds)) for _ in range(events))
    # About as many batches as are full, and one more a shard.
    return events // 500 + len(timer.shards)


def post_now(timer: DTimer, events: int, seconds: float) -> int:
    """Post events that are due at once, evenly; returns how many calls that took."""
    start = time.monotonic()
    for number in range(events):
        time.sleep(max(0.0, start + seconds * number / events - time.monotonic()))
        timer.post(PAYLOAD, 0)
    return events


def loaded(timer: DTimer, notes: Path, events: int, post: Callable[[], int]) -> tuple[float, list[float]]:
    """Calls an event, and lateness."""
    notes.write_text("")
    before = commands(timer)
    posts = post()
    wait_until(lambda: notes.read_bytes().count(b"\n") >= events, f"{events} deliveries", 60)
    # The last confirms are in within a second, with the polls of all listeners meanwhile.
    calls = commands(timer).calls - before.calls - posts
    return calls / events, [lateness for _, lateness in read_notes(notes).values()]


def main() -> None:
    """Print three lines for each number of listeners."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", default="1,8,64,256")
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--idle", type=float, default=10)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="one listener and 16, for two seconds")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.listeners, arguments.seconds, arguments.idle = "1,16", 1, 2
    events, shards = int(arguments.rate * arguments.seconds), arguments.shards
    figures: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        notes = Path(folder) / "notes"
        for listeners in map(int, arguments.listeners.split(",")):
            with (
                RedisServer() as server,
                DTimer(server.url, shards=shards) as timer,
                many_listening(server.url, notes, listeners, shards),
            ):
                timer.post(PAYLOAD, 86_400)
                time.sleep(2.0)  # all have polled once: their phases are their own
                sent = idle(timer, listeners, arguments.idle)
                figures[f"{listeners} idle"] = [sent]
                print(f"{listeners:3} listeners  idle   {sent:5.2f} commands/s of each listener", flush=True)
                for name, post in (("ahead", post_ahead), ("now", post_now)):
                    calls, late = loaded(timer, notes, events, lambda post=post: post(timer, events, arguments.seconds))
                    figures[f"{listeners} {name} calls"], figures[f"{listeners} {name} lateness"] = [calls], [late]
                    row = f"{calls:5.2f} calls/event  {percentiles(late)}  earliest {min(late) * 1000:.2f} ms"
                    print(f"{listeners:3} listeners  {name:6} {row}", flush=True)
                keep(arguments.json, server, figures)


if __name__ == "__main__":
    main()
