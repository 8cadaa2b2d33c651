"""Hostile messages at a live worker: it lives, its neighbours run once, and each bad one comes to an end.

usage: hostile_messages.py [--messages 10000] [--pool threads] [--task att.victim] [--native]

``--native`` shows each message to a worker without the timer, one by one, and names those that end it: these are left
out of what the broker sends afterwards, since a worker with the timer is made of the same Celery. So are, in prefork,
time limits that are no numbers: they end a worker too, but only if the task runs at the instant, once a second, at
which billiard looks through its limits. Messages of the timer are all sent.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from field import Field, Worker, field
from hostile import PAYLOADS, Message, messages
from rig.waiting import wait_until

QUEUE = "celery"
LOST = "Connection to broker lost"


def ends_by_chance(message: Message, pool: str) -> bool:
    """Whether it ends any worker of this pool, with or without the timer, if its task runs at the wrong instant."""
    limits = message.headers.get("timelimit", ())
    numbers = isinstance(limits, list | tuple) and all(one is None or isinstance(one, int | float) for one in limits)
    return pool == "prefork" and not numbers


def wait_for(predicate: Callable[[], bool], seconds: float) -> bool:
    """Whether it comes true within some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not predicate():
        time.sleep(0.01)
    return predicate()


def native_deaths(attack: Field, pool: str, task: str) -> dict[str, str]:
    """What each message does to a plain worker, of those that do not leave it and its neighbour alone."""
    deaths: dict[str, str] = {}
    with ExitStack() as stack:
        worker: Worker | None = None
        for number, message in enumerate(messages(task)):
            if worker is None:
                worker = stack.enter_context(attack.worker(pool, plain=True))
            attack.broker.lpush(QUEUE, message.envelope())
            name = f"native-{number}"
            attack.module.good.apply_async((name,))
            end = time.monotonic() + 15
            while worker.alive and time.monotonic() < end and name not in attack.ran():
                time.sleep(0.005)
            # A connection that is lost has all that is unacknowledged delivered again.
            # What stays unacknowledged takes one of the worker's prefetch count, for ever.
            kept = worker.alive and not wait_for(lambda: not attack.broker.hlen("unacked"), 1)
            if not worker.alive or kept or name not in attack.ran() or LOST in worker.log():
                lines = [line for line in worker.log().splitlines() if "Unrecoverable error" in line or LOST in line]
                lines = lines or (["it is never acknowledged"] if kept else [])
                deaths[message.name] = (lines[-1:] or ["its neighbour did not run"])[0][-100:]
                stack.pop_all().close()
                worker = None
                attack.broker.flushdb()
    return deaths


class Attack:
    """What is sent to a worker with the timer, and what has to be so afterwards."""

    def __init__(self, field: Field, given: argparse.Namespace, broker_ones: list[Message]) -> None:
        self.field, self.given, self.broker_ones = field, given, broker_ones
        self.timer, self.good = field.outsider, field.module.good
        self.timer_ones = [(f"payload {name}", payload) for name, payload in PAYLOADS.items()]
        self.timer_ones += [(one.name, one.payload()) for one in messages(given.task)]
        self.neighbours: list[str] = []
        self.events: dict[str, str] = {}  # id of a bad event -> what is wrong with it

    def send(self, number: int) -> None:
        """Send one message, and a neighbour the same way."""
        name = f"neighbour-{number}"
        if number % 2:
            self.field.broker.lpush(QUEUE, random.choice(self.broker_ones).envelope())
            self.good.apply_async((name,))
        else:
            what, payload = random.choice(self.timer_ones)
            event = f"bad-{number}"
            self.timer.post(payload, random.choice((0, 0.2, 0.5)), id=event, queue=QUEUE)
            self.events[event] = what
            self.good.post((name,), delay=random.choice((0, 0.2, 0.5)))
        self.neighbours.append(name)

    def keep_up(self, worker: Worker, behind: int) -> None:
        """Wait until no more than so many neighbours have not run."""
        wait_until(
            lambda: not worker.alive or len(self.field.ran()) >= len(self.neighbours) - behind, "the neighbours", 300
        )

    def settled(self, worker: Worker) -> bool:
        """Whether nothing moves any more."""
        count = self.timer.count()
        return not worker.alive or not (count.leased or count.pending)

    def outcomes(self) -> dict[str, Counter[str]]:
        """What became of the bad events, by what is wrong with them."""
        found: dict[str, Counter[str]] = {}
        for event, what in self.events.items():
            info = self.timer.peek(event)
            state = "ended" if info is None else f"{info.state.value}: {(info.reason or '')[:60]}"
            found.setdefault(what, Counter())[state] += 1
        return found

    def failures(self, worker: Worker) -> list[str]:
        """What is not as it has to be."""
        ran = self.field.ran()
        missing = [name for name in self.neighbours if name not in ran]
        twice = [name for name in self.neighbours if ran.get(name, 0) > 1]
        forged = [line for line in worker.log().splitlines() if line.startswith("[2030-01-01") and "dtimer" in line]
        return [
            *([] if worker.alive else ["the worker ended:", *worker.log().splitlines()[-15:]]),
            *([f"{len(missing)} neighbours did not run: {missing[:5]}"] if missing else []),
            *([f"{len(twice)} neighbours ran more than once: {twice[:5]}"] if twice else []),
            *([f"forged lines: {forged[:2]}"] if forged else []),
        ]

    def run(self) -> list[str]:
        """Send all; returns what went wrong."""
        with self.field.worker(self.given.pool, 4, env={"ATTACK_PATIENCE": "5"}) as worker:
            try:
                for number in range(self.given.messages):
                    self.send(number)
                    if number % 500 == 499:
                        self.keep_up(worker, 400)
                self.keep_up(worker, 0)
                wait_until(lambda: self.settled(worker), "an end of all", 60)
            except AssertionError as exc:
                return [str(exc), str(self.timer.count()), *self.failures(worker)]
            finally:
                if self.given.log:
                    self.given.log.write_text(worker.log())
                print(f"the worker's log: {len(worker.log()) / 1e6:.1f} MB, {worker.log().count(chr(10))} lines")
            return self.failures(worker)


def main() -> int:
    """Run the attack; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--pool", default="threads")
    parser.add_argument("--task", default="att.victim", choices=["att.victim", "att.late_victim"])
    parser.add_argument("--native", action="store_true")
    parser.add_argument("--deaths", type=Path, default=None, help="a file that keeps what --native found")
    parser.add_argument("--log", type=Path, default=None, help="a file for the worker's log")
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    random.seed(given.seed)
    with field() as attack:
        if given.native:
            deaths = native_deaths(attack, given.pool, given.task)
            if given.deaths:
                given.deaths.write_text(json.dumps(deaths))
        else:
            deaths = json.loads(given.deaths.read_text()) if given.deaths else {}
        print(f"of {len(messages())} broker messages, {len(deaths)} end a plain {given.pool} worker, or stop it:")
        for name, why in deaths.items():
            print(f"  {name}: {why}")
        attack.broker.flushdb()
        attack.records.flushdb()
        if not given.messages:
            return 0
        broker_ones = [one for one in messages(given.task) if one.name not in deaths]
        broker_ones = [one for one in broker_ones if not ends_by_chance(one, given.pool)]
        sent = Attack(attack, given, broker_ones)
        failures = sent.run()
        outcomes = sent.outcomes()
        in_all = Counter(state for states in outcomes.values() for state in states.elements())
        print("what became of the timer's:", *(f"  {n:5} {state}" for state, n in in_all.most_common()), sep="\n")
        for what, states in outcomes.items():
            if any(not state.startswith(("ended", "parked")) for state in states):
                failures.append(f"neither ended nor parked: {what}: {dict(states)}")
        print(*failures or ["ok"], sep="\n")
        return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
