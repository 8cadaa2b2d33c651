"""What failovers lose, repeat and delay while events are posted and fired: with and without waiting for a replica.

usage: failovers.py [--cluster] [--failovers 20] [--cut 0.5] [--rate 300]

A master, two replicas, three sentinels. The master is killed (SIGKILL), the sentinels make another server the master,
and the killed one comes back as a replica; and so on. In the second half of the lines, its replicas are cut off from
it for half a second before it is killed, as by a network that breaks before the host does.

With --cluster: three masters with a replica each, and a shard on each master; these are killed in turn.
"""

import argparse
import itertools
import logging
import random
import sys
import threading
import time
from bisect import bisect
from collections import Counter
from pathlib import Path
from typing import Self

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]

from harness import percentiles  # noqa: E402
from rig.cluster import ClusterFleet, ask  # noqa: E402
from rig.ports import HOST  # noqa: E402
from rig.sentinels import QUICK, SentinelFleet  # noqa: E402
from rig.waiting import wait_until  # noqa: E402

from celery_dtimer import Delivery, DTimer, DTimerError, NotReplicatedError, TimerUnavailableError  # noqa: E402

CONFIRM_TIMEOUT = 2.0  # seconds
LONGEST_DELAY = 4.0  # seconds
BETWEEN = 2.0  # seconds from the return of the killed server to the next kill


class BehindSentinels(SentinelFleet):
    """One master, and two replicas."""

    shards = 1

    def __init__(self) -> None:
        super().__init__(replicas=2)

    def fail_over_once(self, _number: int, cut: float) -> float:
        """Cut the replicas off for so many seconds, kill the master, wait until all is well; return when it died."""
        old = self.master
        if cut:
            for server in self.replicas:
                # They keep what they have.
                with server.client(**QUICK) as client:
                    client.replicaof(HOST, 1)
            time.sleep(cut)
        old.kill()
        killed = time.monotonic()
        new = self.wait_for_failover(old)
        for server in self.replicas:
            self.follow(server, new)
        self.rejoin(old)
        return killed


class InCluster(ClusterFleet):
    """Three masters with a replica each, and a shard on each of them."""

    shards = 3

    def fail_over_once(self, number: int, cut: float) -> float:
        """The same with the master of one shard after the other."""
        key = f"{{dt:{number % self.shards}}}:events"
        if cut:
            self.cut_off(key)
            time.sleep(cut)
        old = self.master_of(key)
        old.kill()
        killed = time.monotonic()
        self.wait_for_failover(key, old)
        self.heal()
        return killed

    def start(self) -> Self:
        """Remember where the count of elections began."""
        super().start()
        self._first_epoch = self._epoch()
        return self

    def switches(self) -> int:
        """How often a replica was elected: each time in an epoch of its own."""
        return self._epoch() - self._first_epoch

    def _epoch(self) -> int:
        return int(ask(self.servers[0], "INFO")["cluster_current_epoch"])


class Poster(threading.Thread):
    """Posts an event of one shard after the other, and sorts their ids by what the post answered."""

    def __init__(self, timer: DTimer, shard: int, rate: float) -> None:
        super().__init__(daemon=True)
        self.returned: dict[str, float] = {}  # id -> when its post returned
        self.not_replicated: set[str] = set()
        self.refused = 0
        self.outages: list[float] = []
        self.stopped = threading.Event()
        self._timer = timer
        self._shard = shard
        self._pause = 1 / rate

    def run(self) -> None:
        """Post until stopped."""
        of_shard = self._timer.shards.of
        ids = (str(number) for number in itertools.count() if of_shard(str(number)).keys.shard == self._shard)
        down_since = None
        while not self.stopped.wait(self._pause):
            event_id = next(ids)
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

    def __init__(self, url: str, shards: int) -> None:
        self.seen: list[tuple[str, float]] = []
        self.timer = DTimer(url, max_events=50, confirm_timeout=CONFIRM_TIMEOUT, shards=shards)
        self.timer.on_event(self._on_event)
        self.timer.on_error(lambda error: None)
        self.timer.join()

    def _on_event(self, delivery: Delivery) -> None:
        self.seen.append((delivery.id, time.time() - delivery.due_ms / 1000))
        self.timer.confirm_soon(delivery)


def is_empty(timer: DTimer) -> bool:
    """Whether nothing waits and nothing is leased."""
    try:
        counts = timer.count()
    except DTimerError:
        return False
    return counts.pending == counts.leased == counts.parked == 0


def measure(
    kind: type[BehindSentinels | InCluster], failovers: int, rate: float, cut: float, wait_replicas: int
) -> str:
    """One line: what became of the events over so many failovers."""
    with kind() as fleet:
        members = [Member(fleet.url, kind.shards) for _ in range(2)]
        timers = [DTimer(fleet.url, wait_replicas=wait_replicas, shards=kind.shards) for _ in range(kind.shards)]
        posters = [Poster(timer, shard, rate / kind.shards) for shard, timer in enumerate(timers)]
        for poster in posters:
            poster.start()
        kills = []
        for number in range(failovers):
            time.sleep(BETWEEN)
            kills.append(fleet.fail_over_once(number, cut))
        for poster in posters:
            poster.stopped.set()
            poster.join()
        wait_until(lambda: is_empty(members[0].timer), "the last events", 120)
        for timer in [*timers, *(member.timer for member in members)]:
            timer.close()
        switches = fleet.switches()
    returned = {event_id: at for poster in posters for event_id, at in poster.returned.items()}
    not_replicated = set().union(*(poster.not_replicated for poster in posters))
    refused = sum(poster.refused for poster in posters)
    outages = [outage for poster in posters for outage in poster.outages]
    seen = [row for member in members for row in member.seen]
    runs = Counter(event_id for event_id, _ in seen)
    lost = Counter(bisect(kills, at) for event_id, at in returned.items() if event_id not in runs)
    a_failover = sorted(lost[number] for number in range(failovers + 1))
    lost_too = sum(event_id not in runs for event_id in not_replicated)
    again = sum(runs[event_id] > 1 for event_id in returned)
    late = {}
    for event_id, lateness in seen:
        late.setdefault(event_id, lateness)
    assert min(late.values()) >= 0, "an event was early"
    return (
        f"{len(returned):6} posts returned: {sum(lost.values())} lost (by failover: {a_failover}), "
        f"{again} fired more than once; {switches} switches; "
        f"{len(not_replicated)} said NotReplicatedError ({lost_too} lost), {refused} were refused; "
        f"late {percentiles(list(late.values()))}; no posts for {percentiles(outages)}"
    )


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--failovers", type=int, default=20)
    parser.add_argument("--cut", type=float, default=0.5)
    parser.add_argument("--rate", type=float, default=300)
    arguments = parser.parse_args()
    logging.disable(logging.ERROR)  # an outage is what is wanted here
    kind = InCluster if arguments.cluster else BehindSentinels
    for cut in (0.0, arguments.cut):
        for wait_replicas in (0, 1):
            how = f"cut off {cut:g} s, killed" if cut else "killed"
            line = measure(kind, arguments.failovers, arguments.rate, cut, wait_replicas)
            print(f"{arguments.failovers} masters {how}, dtimer_wait_replicas {wait_replicas}: {line}", flush=True)


if __name__ == "__main__":
    main()
