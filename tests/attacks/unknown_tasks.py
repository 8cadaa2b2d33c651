"""Events of a task that no worker knows: what they cost after a minute, who runs them, and when they are parked.

usage: unknown_tasks.py [--events 20000] [--pool prefork] [--seconds 60] [--patience 40]

First with a patience of an hour: the worker's log lines, processor time and Redis commands, in each tenth of the time.
Then a worker joins that knows the task. Then the same number of events with a worker of little patience.
"""

import argparse
import sys
import time

from field import Field, Worker, field
from rig.waiting import wait_until

from celery_dtimer import DTimer, Post
from celery_dtimer.message import StoredMessage, encode


def post(timer: DTimer, events: int, task: str) -> None:
    """Post that many events that are all due."""
    for start in range(0, events, 5000):
        ids = [f"{task}-{number}" for number in range(start, min(events, start + 5000))]
        message = StoredMessage(b"[[], {}, {}]", "application/json", "utf-8", {"task": task})
        timer.post_many(Post(encode(message, event, "celery"), 0, id=event, queue="celery") for event in ids)


def figures(attack: Field, worker: Worker, seconds: float) -> tuple[int, float, float]:
    """(log lines, percent of a processor, Redis commands a second) of some seconds."""

    def read() -> tuple[int, float, int]:
        with attack.server.client() as client:
            commands = client.info("stats")["total_commands_processed"]
        return worker.log().count("\n"), worker.cpu(), commands

    before, start = read(), time.monotonic()
    time.sleep(seconds)
    after, took = read(), time.monotonic() - start
    return after[0] - before[0], 100 * (after[1] - before[1]) / took, (after[2] - before[2]) / took


def main() -> int:
    """Run the attack; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--pool", default="prefork")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--patience", type=float, default=40)
    given = parser.parse_args()
    failures = []
    with field() as attack:
        timer = attack.outsider
        post(timer, given.events, "att.unknown")
        with attack.worker(given.pool) as old:
            print(f"{'seconds':>9} {'log lines':>9} {'cpu %':>6} {'commands/s':>10}")
            for part in range(11):
                lines, cpu, commands = figures(attack, old, given.seconds / 10)
                print(f"{(part + 1) * given.seconds / 10:9.0f} {lines:9} {cpu:6.1f} {commands:10.0f}", flush=True)
            attack.module.good.post(("known",), delay=0)
            wait_until(lambda: attack.ran().get("known"), "the known task to run", 20)
            print(
                "log lines about it:",
                sum("att.unknown" in line for line in old.log().splitlines()),
                " parked:",
                timer.count().parked,
            )
            start = time.monotonic()
            with attack.worker(given.pool, env={"ATTACK_KNOWS": "1"}):
                wait_until(lambda: len(attack.ran()) == given.events + 1, "all to run", 600)
            twice = sum(count > 1 for count in attack.ran().values())
            print(f"with a worker that knows it: all ran in {time.monotonic() - start:.0f} s, {twice} of them twice")
            if not old.alive or twice:
                failures.append("the worker ended, or events ran twice")
        post(timer, given.events, "att.forgotten")
        with attack.worker(given.pool, env={"ATTACK_PATIENCE": str(given.patience)}) as old:
            start = time.monotonic()
            wait_until(lambda: timer.count().parked == given.events, "all to be parked", given.patience + 200)
            print(f"patience of {given.patience:.0f} s: all parked after {time.monotonic() - start:.0f} s", end=", ")
            print("log lines about it:", sum("att.forgotten" in line for line in old.log().splitlines()))
    print(*failures or ["ok"])
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
