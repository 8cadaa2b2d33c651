"""Random operations on a shard, each compared with the model of test_model.py, and all keys looked at after each.

usage: protocol.py [--steps 20000] [--seeds 10] [--first 1]

Ids come from a pool of three, so that the operations meet; leases lapse; and records of a neighbour are damaged.
Prints one line a seed, and the step at which one failed. The exit status is 1 if any did.
"""

import argparse
import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS), str(TESTS / "timer")]

from rig import declared  # noqa: E402
from rig.keyspace import finish, snapshot  # noqa: E402
from rig.servers import RedisServer  # noqa: E402
from seeds import FUTURE_MS, PAST_MS, event  # noqa: E402
from test_model import KINDS, QUEUES, Comparison  # noqa: E402

#: Steps on one set of keys, and deliveries that are remembered for late verdicts.
ROUND, REMEMBERED = 400, 12

GARBAGE = (b"", b"\xc1", b"\x93\x01\x01\x01", b"no record", b"\xff\xfe", b"t\n\xc1")


class Driver(Comparison):
    """The rules of the comparison, drawn at random."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.chance = chance
        self.done: Counter[str] = Counter()

    def damage(self) -> None:
        """A neighbour's record is damaged: it is put aside by the next claim, and nobody else notices."""
        where = self.chance.choice(["events", "leased", "taken"])
        self.limit(self.chance.choice(["", "open"]))  # what is not claimed is not looked at
        self.store.post([event("bad", queue="bad", payload=b"neighbour")])
        if where != "events":
            call = self.store.claim(("bad",), listener="l", holder="h", nonce="bad", room=9, lease_ms=-1)
            assert len(self.store.read_claim(self.store.ask(call), ("bad",)).deliveries) == 1
        key = self.store.keys.prefix + where
        field = next(name for name in self.client.hkeys(key) if name.startswith(b"bad"))
        record = self.client.hget(key, field)
        self.client.hset(key, field, self.chance.choice((*GARBAGE, record[:-1], record[: len(record) // 2])))
        names = ["bad", *QUEUES]
        self.chance.shuffle(names)
        self.claim(tuple(names), 100, self.chance.random() < 0.5, "first")
        found = self.store.damaged()
        assert {damaged.id for damaged in found} == {"bad"}, found
        assert all(self.store.drop_damaged(damaged) for damaged in found)
        assert not [name for name in snapshot(self.client) if name.endswith(":bad")]
        assert self.store.peek("bad") is None

    def step(self) -> None:
        """One operation, and everything that has to hold after it."""
        pick = self.chance.choice
        base_ms = pick([PAST_MS, PAST_MS, PAST_MS, FUTURE_MS])
        event_id, queue, number = pick("xxxyyz"), pick(QUEUES), pick([0, 0, 0, 1, 1, 2, 3, 5])
        condition = pick(["none", "none", "right", "wrong"])
        operations = {
            "post": lambda: self.post(
                event_id, base_ms, queue, pick([0, 1, 20]), pick(["error", "keep", "replace", "postpone"])
            ),
            "cancel": lambda: self.cancel(pick("zzzzzyx"), condition),
            "change": lambda: self.change(event_id, base_ms, condition),
            "claim": lambda: self.claim(
                pick([QUEUES, QUEUES[::-1], QUEUES[:1]]),
                pick([100, 100, 2, 1, 0]),
                pick([True, False]),
                pick(["first", "second", "third"]),
            ),
            "post_and_claim": lambda: self.post_and_claim(event_id, queue, pick([1, 1, 20]), pick([True, False])),
            "replay": lambda: self.replay(event_id, pick([True, False])),
            "drop_old": lambda: self.drop_old(event_id),
            "drop": lambda: self.drop(event_id),
            "replay_or_drop_all": lambda: self.replay_or_drop_all(pick([True, False]), pick([True, False, False])),
            "look_ahead": self.look_ahead,
            "hold": lambda: self.hold(queue, pick([True, False, False])),
            "resume_halfway": lambda: self.resume_halfway(pick(KINDS[1:])),
            "limit": lambda: self.limit(pick(["", "", "open", "closed"])),
            "hold_kind": lambda: self.hold_kind(pick(KINDS[1:]), pick([True, False])),
        }
        if self.deliveries:
            operations |= {
                "confirm": lambda: self.confirm(number),
                "renew": lambda: self.renew(number),
                "release": lambda: self.release(number, pick([True, False]), pick([True, False]), pick([True, False])),
                "park": lambda: self.park(number, pick([True, False])),
            }
        if any(delivery.token for delivery in self.deliveries):
            operations["follow"] = lambda: self.follow(number, base_ms, queue, pick([1, 20]))
        name = "damage" if self.chance.random() < 0.02 else pick(list(operations))
        self.done[name] += 1
        (operations | {"damage": self.damage})[name]()
        del self.deliveries[:-REMEMBERED]
        self.both_say_the_same_about_every_event()
        self.the_index_has_the_tags_of_all_that_is_there()
        self.the_keys_agree_with_each_other()


def drive(seed: int, steps: int) -> Counter[str]:
    """Take so many steps; returns how often each operation was among them."""
    chance = random.Random(seed)
    done: Counter[str] = Counter()
    for start in range(0, steps, ROUND):
        driver = Driver(chance)
        try:
            for number in range(start, min(steps, start + ROUND)):
                try:
                    driver.step()
                except Exception:
                    print(f"seed {seed}: failed at step {number}: {dict(driver.done)}", flush=True)
                    raise
            driver.look_ahead()
            finish(driver.store, driver.client)
            left = snapshot(driver.client)
            assert left == {}, left
        finally:
            driver.client.flushall()
            driver.servers.close()
        done += driver.done
    return done


def main() -> int:
    """Drive each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1)
    arguments = parser.parse_args()
    declared.install()
    failed = 0
    with RedisServer() as server, server.client() as client:
        Comparison.url, Comparison.client = server.url, client
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            begun = time.monotonic()
            try:
                done = drive(seed, arguments.steps)
            except Exception:  # noqa: BLE001 - whatever the seed found
                failed += 1
                traceback.print_exc()
                continue
            print(f"seed {seed}: {done.total()} steps in {time.monotonic() - begun:.0f} s: {dict(done)}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
