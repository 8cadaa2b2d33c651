"""How fast the timer alone drains what is due at once, without Celery: each event is noted and confirmed.

usage: alone.py [--events 20000] [--rounds 5] [--max-events 8,64,256] [--listeners 1,2] [--json FILE]

Listeners in processes of their own have joined when the events come due, all at one instant. A rate is of the notes,
from the first to the last; processor time is that of the listeners and of the server, from before the first event to
after the last confirm. The figures are medians, of rounds in which all variants are measured in turn.
"""

import argparse
import contextlib
import json
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
from harness import rate
from listening import listening, read_notes
from rig.servers import RedisServer
from rig.waiting import wait_until

from celery_dtimer import DTimer, Post

PAYLOAD = b"x" * 200

#: Seconds from the last post to the instant at which all is due: the listeners have joined by then, and are idle.
LEAD = 1.5


def processor_time(processes: list[psutil.Process]) -> float:
    """Seconds of the processor that processes have taken."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def drain(listeners: int, max_events: int, events: int, folder: Path) -> dict[str, float]:
    """Drain once: events a second, and milliseconds of the processor for 1,000 events, of either side."""
    notes = folder / "notes"
    notes.write_text("")
    with RedisServer() as server, DTimer(server.url) as timer, contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(listening(server.url, notes, max_events=max_events)).process for _ in range(listeners)
        ]
        due = time.time() + LEAD + events / 10_000
        timer.post_many(Post(PAYLOAD, eta=datetime.fromtimestamp(due, UTC)) for _ in range(events))
        time.sleep(max(0.0, due - 0.5 - time.time()))
        if time.time() > due:
            raise RuntimeError(f"posting {events} events took too long; they were due meanwhile")
        sides = {
            "listeners": [psutil.Process(process.pid) for process in started],
            "redis": [psutil.Process(server.pid)],
        }
        before = {side: processor_time(processes) for side, processes in sides.items()}
        wait_until(lambda: notes.stat().st_size > 0, "the first event", LEAD + 5)
        store = timer.shards[0]
        # Asked rarely, since each question takes the server's time.
        while store.server.client.exists(store.keys.events, store.keys.prefix + "leased"):
            time.sleep(0.05)
        took = {side: processor_time(processes) - before[side] for side, processes in sides.items()}
    found = read_notes(notes)
    assert len(found) == events
    return {
        "per second": rate(list(found.values())),
        **{f"{side}, ms of processor per 1,000": seconds * 1e6 / events for side, seconds in took.items()},
    }


def main() -> None:
    """Print a line a variant; keep all of it as JSON, if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-events", default="8,64,256")
    parser.add_argument("--listeners", default="1,2")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    variants = [
        (listeners, max_events)
        for listeners in map(int, given.listeners.split(","))
        for max_events in map(int, given.max_events.split(","))
    ]
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for _ in range(given.rounds):
            for listeners, max_events in variants:
                name = f"{listeners} listener{'s' * (listeners > 1)}, max_events {max_events}"
                for what, figure in drain(listeners, max_events, given.events, Path(folder)).items():
                    figures.setdefault(f"{name}: {what}", []).append(figure)
        with RedisServer() as server, server.client() as client:
            info = client.info("server")
    versions = {
        "python": platform.python_version(),
        "redis-py": version("redis"),
        **{name: info[f"{name}_version"] for name in ("redis", "valkey") if f"{name}_version" in info},
    }
    print(", ".join(f"{name} {text}" for name, text in versions.items()))
    for name, found in figures.items():
        print(f"{name:70} {statistics.median(found):9.1f}   of {min(found):.1f} to {max(found):.1f}")
    if given.json:
        given.json.write_text(json.dumps({"versions": versions, "figures": figures}))


if __name__ == "__main__":
    main()
