"""More tasks that use the timer at one instant than redis-py's pool has connections: does each come to its end?

A worker of as many threads or greenlets as there are tasks; each of them posts, retries, or peeks at the same instant.
Then the worker is asked to end.

usage: pools.py [--pools gevent,eventlet,threads] [--count 500] [--native] [--connections 0]
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]

from rig.servers import RedisServer  # noqa: E402
from rig.waiting import wait_until  # noqa: E402

ACTIONS = ("posts", "retries", "looks")

#: So many threads at most: a thread costs more than a greenlet.
MOST_THREADS = 400


def attack(pool: str, count: int, *, native: bool, connections: int) -> bool:
    """Print a row an action; false if something was lost, or the worker did not end."""
    fine = True
    with RedisServer() as server, tempfile.TemporaryDirectory(prefix="pools-") as folder:
        notes, log = Path(folder) / "notes", Path(folder) / "log"
        notes.touch()
        option = f"?max_connections={connections}" if connections else ""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path[:3]),
            "CROWD_BROKER": server.url_of(1),
            "CROWD_TIMER": server.url_of(0) + option,
            "CROWD_NOTES": str(notes),
            "CROWD_NATIVE": "1" if native else "0",
            "PYTHONWARNINGS": "ignore",
        }
        argv = [sys.executable, "-m", "celery", "-A", "crowd_app", "worker", "-P", pool, "-c", str(count)]
        with log.open("w") as out:
            worker = subprocess.Popen(
                [*argv, "-l", "INFO", "--without-mingle", "-n", "crowd@pools"], env=environment, stdout=out, stderr=out
            )
        try:
            wait_until(lambda: "ready." in log.read_text(errors="replace") or worker.poll() is not None, "a start", 60)
            for action in ACTIONS:
                if native and action == "looks":
                    continue
                notes.write_text("")
                instant = time.time() + 4 + count / 100
                program = f"import crowd_app as a\nfor i in range({count}): " + (
                    f"a.{action}.delay(i, {instant})" if native else f"a.{action}.post_in(0, i, {instant})"
                )
                subprocess.run([sys.executable, "-c", program], env=environment, check=True)
                done = count_of(notes, action, count, instant - time.time() + 60)
                left = server_left(server)
                print(
                    f"{pool:8} {'native' if native else 'dtimer'} {count} {action:8} started {done['started']:4}"
                    f"  ended {done[action]:4}  errors {done['error']:3}  left in the timer {left}"
                    f"  last {time.time() - instant:5.1f} s after the instant",
                    flush=True,
                )
                fine = fine and done[action] == count and not done["error"] and not left
            worker.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            try:
                code = worker.wait(60)
            except subprocess.TimeoutExpired:
                code, fine = None, False
            text = log.read_text(errors="replace")
            print(
                f"{pool:8} {'native' if native else 'dtimer'} SIGTERM: exit code {code} after"
                f" {time.monotonic() - begun:.1f} s; the listener failed {text.count('Redis failed')} times",
                flush=True,
            )
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
    return fine


def count_of(notes: Path, action: str, count: int, seconds: float) -> Counter:
    """Lines by their first word, when all have ended or time is up."""

    def read() -> Counter:
        return Counter(line.split()[0] for line in notes.read_text().splitlines())

    try:
        wait_until(lambda: read()[action] + read()["error"] >= count, f"{count} {action}", seconds)
    except AssertionError as exc:
        print(exc)
    return read()


def server_left(server: RedisServer) -> int:
    """So many events are stored still, after some patience for the last confirms."""
    with server.client() as client:
        end = time.monotonic() + 5
        while (left := client.hlen("{dt:0}:events") + client.hlen("{dt:0}:leased")) and time.monotonic() < end:
            time.sleep(0.1)
    return left


def main() -> int:
    """Print the table; status 1 if something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", default="gevent,eventlet,threads")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--native", action="store_true", help="plain Celery, for comparison")
    parser.add_argument("--connections", type=int, default=0, help="max_connections of the timer's URL")
    arguments = parser.parse_args()
    fine = True
    for pool in arguments.pools.split(","):
        count = min(arguments.count, MOST_THREADS) if pool == "threads" else arguments.count
        fine = attack(pool, count, native=arguments.native, connections=arguments.connections) and fine
    return int(not fine)


if __name__ == "__main__":
    sys.exit(main())
