"""What tags cost: Redis' time for a post, a claim, a confirm and a cancel of an event, and its bytes.

usage: tags.py [--events 20000] [--rounds 3] [--plain]

Prints microseconds of the scripts (INFO commandstats) and bytes an event while it waits; the best of some rounds.
``--plain`` measures events without tags alone: it runs on versions without tags, too.
"""

import argparse
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

from rig.servers import RedisServer  # noqa: E402

from celery_dtimer.timer.dtimer import DTimer  # noqa: E402
from celery_dtimer.timer.posts import Post  # noqa: E402
from celery_dtimer.timer.storing.claims import CLAIM  # noqa: E402

OPERATIONS = ("post", "claim", "confirm", "cancel")


def measure(server: RedisServer, events: int, tags: int) -> dict[str, float]:
    """Microseconds an event of each operation, and bytes of an event that waits."""
    client = server.client()
    client.flushall()
    found = {}

    def timed(name, action):
        client.config_resetstat()
        action()
        stats = client.info("commandstats")
        micros = sum(of["usec"] for command, of in stats.items() if command in ("cmdstat_evalsha", "cmdstat_eval"))
        found[name] = micros / events

    with DTimer(server.url) as timer:
        store = timer.shards[0]
        store.load_scripts()

        def posts(delay):
            # Each has tags of its own, but one that all share.
            for number in range(events):
                own = [f"order:{number}-{i}" for i in range(tags - 1)] + ["shared"] * bool(tags)
                some = {"tags": own} if tags else {}
                yield Post(b"p" * 100, delay, id=f"{number:032d}", kind="proj.tasks.remind", **some)

        before = client.info("memory")["used_memory_dataset"]
        due, later = list(posts(0)), list(posts(3600))
        timed("post", lambda: timer.post_many(due))
        found["bytes"] = (client.info("memory")["used_memory_dataset"] - before) / events
        deliveries = []

        def claim():
            number = 0
            while len(deliveries) < events:
                call = store.claim(
                    ("default",), listener="l", holder="h", nonce=f"n{number}", room=CLAIM, lease_ms=600_000
                )
                deliveries.extend(store.read_claim(store.ask(call), ("default",)).deliveries)
                number += 1

        def confirm():
            for start in range(0, events, CLAIM):
                store.ask(store.confirm("default", deliveries[start : start + CLAIM]))

        timed("claim", claim)
        timed("confirm", confirm)
        timer.post_many(later)
        ids = [post.id for post in later]
        timed("cancel", lambda: timer.cancel_many(ids))
        if tags:
            timer.post_many(later)
            timed("cancel by tag", lambda: timer.cancel_many(tag="shared"))
        left = [key for key in client.scan_iter() if not key.endswith(b":layout")]
        assert not left, left
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    with RedisServer() as server:
        names = (*OPERATIONS, "cancel by tag")
        print(f"{'tags':>4}  {'bytes':>7}  " + "  ".join(f"{name:>13}" for name in names))
        for tags in (0,) if options.plain else (0, 1, 2, 8):
            rounds = [measure(server, options.events, tags) for _ in range(options.rounds)]
            best = {name: min(each[name] for each in rounds) for name in rounds[0]}
            print(
                f"{tags:>4}  {best['bytes']:>7.0f}  "
                + "  ".join(f"{best[name]:>10.2f} us" if name in best else " " * 13 for name in names),
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
