"""A process with listeners of the timer alone, for the benchmarks: each delivery is written down and confirmed.

usage: listening.py URL NOTES [--listeners 1] [--queues default] [--max-events 8] [--confirm-timeout 10]
       [--shards 1]

Prints a line with the ids of its listeners when all have joined, and ends at the end of its input. A line of NOTES is
an event's id, the instant of its delivery, and its lateness, both in seconds.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import harness  # noqa: F401 - makes the repository's own package the one that is imported

from celery_dtimer import Delivery, DTimer

#: The most listeners that one process has: each has two threads.
A_PROCESS = 64


@dataclass
class Listening:
    """A running process of listeners, by the ids that promises name them with."""

    process: "subprocess.Popen[str]"
    ids: Sequence[str]


@contextlib.contextmanager
def listening(
    url: str,
    notes: Path,
    *,
    listeners: int = 1,
    queues: str = "default",
    max_events: int = 8,
    confirm_timeout: float = 10.0,
    shards: int = 1,
) -> Iterator[Listening]:
    """A process of listeners that have joined; ended on the way out."""
    argv = [sys.executable, __file__, url, str(notes), "--listeners", str(listeners), "--queues", queues]
    argv += ["--max-events", str(max_events), "--confirm-timeout", str(confirm_timeout), "--shards", str(shards)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Listening(process, process.stdout.readline().split())
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def many_listening(url: str, notes: Path, listeners: int, shards: int = 1) -> Iterator[None]:
    """So many listeners, in as few processes as hold them."""
    with contextlib.ExitStack() as stack:
        for start in range(0, listeners, A_PROCESS):
            stack.enter_context(listening(url, notes, listeners=min(A_PROCESS, listeners - start), shards=shards))
        yield


def read_notes(notes: Path) -> dict[str, tuple[float, float]]:
    """(instant, lateness) in seconds of the first delivery of each event, by its id."""
    found: dict[str, tuple[float, float]] = {}
    for line in notes.read_text().splitlines():
        event_id, instant, lateness = line.split()
        found.setdefault(event_id, (float(instant), float(lateness)))
    return found


def _listen(arguments: argparse.Namespace) -> None:
    file = os.open(arguments.notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def start() -> DTimer:
        timer = DTimer(
            arguments.url,
            shards=arguments.shards,
            queues=arguments.queues.split(","),
            max_events=arguments.max_events,
            confirm_timeout=arguments.confirm_timeout,
        )

        def note(delivery: Delivery) -> None:
            now = time.time()
            os.write(file, f"{delivery.id} {now} {now - delivery.due_ms / 1000}\n".encode())
            timer.confirm_soon(delivery)

        timer.on_event(note)
        timer.join()
        return timer

    timers = [start() for _ in range(arguments.listeners)]
    print(*(timer._listener.id for timer in timers if timer._listener), flush=True)
    sys.stdin.read()
    for timer in timers:
        timer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("notes")
    parser.add_argument("--listeners", type=int, default=1)
    parser.add_argument("--queues", default="default")
    parser.add_argument("--max-events", type=int, default=8)
    parser.add_argument("--confirm-timeout", type=float, default=10.0)
    parser.add_argument("--shards", type=int, default=1)
    _listen(parser.parse_args())
