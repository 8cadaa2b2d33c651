"""What failovers lose, repeat and delay while events are posted and fired: with and without waiting for a replica.

usage: failovers.py [--failovers 20] [--cut 0.5] [--rate 300]

A master, two replicas, three sentinels. The master is killed (SIGKILL), the sentinels make another server the master,
and the killed one comes back as a replica; and so on. In the second half of the lines, its replicas are cut off from
it for half a second before it is killed, as by a network that breaks before the host does.
"""

import argparse
import logging
import random
import sys
import threading
import time
from bisect import bisect
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]

from harness import percentiles  # noqa: E402
from rig.ports import HOST  # noqa: E402
from rig.sentinels import QUICK, SentinelFleet  # noqa: E402
from rig.waiting import wait_until  # noqa: E402

from celery_dtimer import Delivery, DTimer, DTimerError, NotReplicatedError, TimerUnavailableError  # noqa: E402

CONFIRM_TIMEOUT = 2.0  # seconds
LONGEST_DELAY = 4.0  # seconds
BETWEEN = 2.0  # seconds from the return of the killed server to the next kill


class Poster(threading.Thread):
    """Posts an event after the other, and sorts their ids by what the post answered."""

    def __init__(self, timer: DTimer, rate: float) -> None:
        super().__init__(daemon=True)
        self.returned: dict[str, float] = {}  # id -> when its post returned
        self.not_replicated: set[str] = set()
        self.refused = 0
        self.outages: list[float] = []
        self.stopped = threading.Event()
        self._timer = timer
        self._pause = 1 / rate

    def run(self) -> None:
        """Post until stopped."""
        number, down_since = 0, None
        while not self.stopped.wait(self._pause):
            event_id, number = str(number), number + 1
            try:
                self._timer.post(b"x" * 200, random.random() * LONGEST_DELAY, id=event_id)
                self.returned[event_id] = time.monotonic()
            except NotReplicatedError:
                self.not_replicated.add(event_id)
            except TimerUnavailableError:
                self.refused += 1
                down_since = down_since or time.monotonic()
                continue
            if down_since is not None:
                self.outages.append(time.monotonic() - down_since)
                down_since = None


class Member:
    """A listener that confirms at once and writes down what it was given."""

    def __init__(self, url: str) -> None:
        self.seen: list[tuple[str, float]] = []
        self.timer = DTimer(url, max_events=50, confirm_timeout=CONFIRM_TIMEOUT)
        self.timer.on_event(self._on_event)
        self.timer.on_error(lambda error: None)
        self.timer.join()

    def _on_event(self, delivery: Delivery) -> None:
        self.seen.append((delivery.id, time.time() - delivery.due_ms / 1000))
        self.timer.confirm_soon(delivery)


def cut_off(fleet: SentinelFleet) -> None:
    """Break the link from the master to its replicas; they keep what they have."""
    for server in fleet.replicas:
        with server.client(**QUICK) as client:
            client.replicaof(HOST, 1)


def is_empty(timer: DTimer) -> bool:
    """Whether nothing waits and nothing is leased."""
    try:
        counts = timer.count()
    except DTimerError:
        return False
    return counts.pending == counts.leased == counts.parked == 0


def measure(failovers: int, rate: float, cut: float, wait_replicas: int) -> str:
    """One line: what became of the events over so many failovers."""
    with SentinelFleet(replicas=2) as fleet:
        members = [Member(fleet.url) for _ in range(2)]
        poster = Poster(DTimer(fleet.url, wait_replicas=wait_replicas), rate)
        poster.start()
        kills = []
        for _ in range(failovers):
            time.sleep(BETWEEN)
            old = fleet.master
            if cut:
                cut_off(fleet)
                time.sleep(cut)
            old.kill()
            kills.append(time.monotonic())
            new = fleet.wait_for_failover(old)
            for server in fleet.replicas:
                fleet.follow(server, new)
            fleet.rejoin(old)
        poster.stopped.set()
        poster.join()
        wait_until(lambda: is_empty(members[0].timer), "the last events", 120)
        for member in members:
            member.timer.close()
        switches = fleet.switches()
    seen = [row for member in members for row in member.seen]
    runs = Counter(event_id for event_id, _ in seen)
    lost = Counter(bisect(kills, at) for event_id, at in poster.returned.items() if event_id not in runs)
    a_failover = sorted(lost[number] for number in range(failovers + 1))
    lost_too = sum(event_id not in runs for event_id in poster.not_replicated)
    again = sum(runs[event_id] > 1 for event_id in poster.returned)
    late = {}
    for event_id, lateness in seen:
        late.setdefault(event_id, lateness)
    assert min(late.values()) >= 0, "an event was early"
    return (
        f"{len(poster.returned):6} posts returned: {sum(lost.values())} lost (by failover: {a_failover}), "
        f"{again} fired more than once; {switches} switches; "
        f"{len(poster.not_replicated)} said NotReplicatedError ({lost_too} lost), {poster.refused} were refused; "
        f"late {percentiles(list(late.values()))}; no posts for {percentiles(poster.outages)}"
    )


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--failovers", type=int, default=20)
    parser.add_argument("--cut", type=float, default=0.5)
    parser.add_argument("--rate", type=float, default=300)
    arguments = parser.parse_args()
    logging.disable(logging.ERROR)  # an outage is what is wanted here
    for cut in (0.0, arguments.cut):
        for wait_replicas in (0, 1):
            how = f"cut off {cut:g} s, killed" if cut else "killed"
            line = measure(arguments.failovers, arguments.rate, cut, wait_replicas)
            print(f"{arguments.failovers} masters {how}, dtimer_wait_replicas {wait_replicas}: {line}", flush=True)


if __name__ == "__main__":
    main()
