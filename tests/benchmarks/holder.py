"""How late the next event is when the listener that has promised to wake for it is killed, or hangs.

usage: holder.py [--listeners 2] [--trials 20] [--ways killed ...]

Three ways: the holder gets a SIGKILL, or a SIGSTOP, before the event is due; or a SIGSTOP while nothing is due for
long, and the event is posted after that, to be delivered at once: the wake token may go to the one that hangs.
"""

import argparse
import random
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
from harness import percentiles
from listening import Listening, listening, read_notes
from rig.servers import RedisServer
from rig.waiting import wait_until

from celery_dtimer import DTimer

WAYS = {"killed": signal.SIGKILL, "paused": signal.SIGSTOP, "paused, then posted": signal.SIGSTOP}


def holder(timer: DTimer) -> str:
    """The id of the listener that holds the promise of the timer's queue, or ''."""
    value = timer.shards[0].server.client.hget(timer.shards[0].keys.promise, timer.queues[0]) or b" "
    return str(value.decode().partition(" ")[2])


def trial(url: str, notes: Path, listeners: int, way: str) -> float:
    """Seconds by which one event was late."""
    notes.write_text("")
    with ExitStack() as stack, DTimer(url) as timer:
        timer.shards[0].server.client.flushall()
        group: list[Listening] = [stack.enter_context(listening(url, notes)) for _ in range(listeners)]
        later = way == "paused, then posted"
        # The phases of the polls are anyhow: the event is due at a random instant of one.
        delay = 1.2 + random.random()
        first = timer.post(b"", 60 if later else delay)
        wait_until(lambda: holder(timer) in {i for one in group for i in one.ids}, "somebody to hold the promise")
        time.sleep(delay - random.uniform(0.05, 1.0))
        by = holder(timer)
        process = psutil.Process(next(one.process.pid for one in group if by in one.ids))
        process.send_signal(WAYS[way])
        if way != "killed":
            # It runs on for a moment: what it claims then is late by its confirm timeout, and another matter.
            wait_until(lambda: process.status() == psutil.STATUS_STOPPED, "the holder to hang")
        event = timer.post(b"", 0) if later else first
        wait_until(lambda: event in read_notes(notes), "the delivery", 30)
        for one in group:
            if by in one.ids:
                one.process.kill()
        return read_notes(notes)[event][1]


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, default=2)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    arguments = parser.parse_args()
    with RedisServer() as server, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for way in arguments.ways:
            latenesses = [
                trial(server.url, Path(folder) / "notes", arguments.listeners, way) for _ in range(arguments.trials)
            ]
            print(f"{way:20} {percentiles(latenesses)}  {arguments.trials} trials, {arguments.listeners} listeners")


if __name__ == "__main__":
    main()
