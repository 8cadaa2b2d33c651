"""What waits in the timer of the fleet that is looked at."""

import itertools
import math
import random
from datetime import UTC, datetime, timedelta

from fleet import Fleet
from rig.waiting import wait_until

from celery_dtimer import TaskPost

MINUTE, HOUR, DAY = 60, 3600, 86_400
#: The queues that the worker of ``at_work`` consumes. Nobody does ``imports``.
CONSUMED = "orders,mail,billing,reports"
BIG = 500_000  # bytes; a stored message may have 512 KiB
CUSTOMERS = ("ann@example.org", "bob@example.org", "chloé@example.org", "dov@example.org", "ines@example.org")


def at_rest(fleet: Fleet, *, seed: int = 7) -> None:
    """Tasks of the coming minutes, hours and days, in several queues: what a healthy shop has."""
    shop, dice = fleet.shop, random.Random(seed)
    orders = itertools.count(70_140)
    shop.remind.post_many([TaskPost((next(orders),), delay=dice.uniform(3 * MINUTE, 2 * HOUR)) for _ in range(60)])
    shop.expire_cart.post_many(
        [TaskPost((f"cart-{n:04}",), {"notify": n % 3 > 0}, delay=dice.uniform(2 * MINUTE, DAY)) for n in range(90)]
    )
    shop.digest.post_many([TaskPost((who,), delay=DAY * dice.randint(1, 7) + 8 * HOUR) for who in CUSTOMERS * 8])
    shop.welcome.post_many([TaskPost((who,), delay=dice.uniform(3 * MINUTE, HOUR)) for who in CUSTOMERS])
    shop.charge.post_many(
        [TaskPost((f"sub-{n}", 900 + 100 * (n % 5)), delay=dice.uniform(HOUR, 30 * DAY)) for n in range(120)]
    )
    shop.dun.post_many([TaskPost((f"inv-2026-{n:03}",), delay=dice.uniform(DAY, 14 * DAY)) for n in range(25)])
    midnight = datetime.now(UTC).replace(hour=2, minute=0, second=0, microsecond=0)
    for days in range(1, 8):
        at = midnight + timedelta(days=days)
        shop.nightly.post((at.date().isoformat(),), eta=at, task_id=f"nightly:{at.date()}")


def at_work(fleet: Fleet) -> None:
    """A worker that runs a long task and can't deliver others: leased events, and parked ones for several reasons."""
    shop = fleet.shop

    # Only this process knows it: the worker is of an older release.
    @shop.app.task(name="shop.orders.sync_loyalty")
    def newcomer(*_args): ...

    fleet.start_worker("threads", concurrency=4, queues=CONSUMED, name="shop-1")
    exports = [shop.export.post_in(0, table) for table in ("orders_2026", "customers")]
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    newcomer.post(("ann@example.org",), delay=0)
    shop.coupon.post_many([TaskPost((who,), eta=long_ago) for who in CUSTOMERS[:2]])
    shop.refund.post_many([(f"order-{n}", 1990 + n) for n in range(6)], delay=0)
    wait_until(lambda: all((info := e.peek()) and info.state.value == "leased" for e in exports), "leases", 20)
    wait_until(lambda: fleet.timer.count().parked >= 9, "parked events", 30)


def busy(fleet: Fleet, *, seed: int = 7) -> None:
    """Thousands of tasks more, in waves as customers make them: for pictures."""
    shop, dice = fleet.shop, random.Random(seed)

    def wave(count: int, span: float, waves: float) -> list[float]:
        """Delays that are dense at the crests."""
        spread = (dice.uniform(0, span) for _ in range(20 * count))
        crest = (at for at in spread if dice.random() < 0.55 + 0.45 * math.sin(waves * math.tau * at / span))
        return list(itertools.islice(crest, count))

    shop.remind.post_many([TaskPost((61_000 + n,), delay=at) for n, at in enumerate(wave(1400, HOUR, 2.3))])
    shop.welcome.post_many([TaskPost((CUSTOMERS[n % 5],), delay=at) for n, at in enumerate(wave(420, HOUR, 4))])
    shop.charge.post_many([TaskPost((f"sub-{n}", 1900), delay=at) for n, at in enumerate(wave(260, HOUR, 1))])
    shop.expire_cart.post_many([TaskPost((f"cart-{n}",), delay=at) for n, at in enumerate(wave(2600, DAY, 1.2))])
    shop.dun.post_many([TaskPost((f"inv-{n}",), delay=at) for n, at in enumerate(wave(900, DAY, 2))])
    shop.digest.post_many([TaskPost((CUSTOMERS[n % 5],), delay=at) for n, at in enumerate(wave(1200, DAY, 3))])


def incident(fleet: Fleet) -> None:
    """The mail server is down, and nobody consumes a queue: a hold, and much that is overdue."""
    fleet.timer.hold(queue="mail", why="SMTP relay refuses connections, ticket OPS-2231", by="ann@ops-1")
    now = datetime.now(UTC)
    fleet.shop.welcome.post_many(
        [TaskPost((CUSTOMERS[n % 5],), eta=now - timedelta(seconds=11 * n)) for n in range(260)]
    )
    fleet.shop.stock.post_many(
        [TaskPost((f"warehouse-{n % 7}",), eta=now - timedelta(minutes=4 + 3 * n)) for n in range(40)]
    )


def hostile(fleet: Fleet) -> dict[str, str]:
    """Names, ids and arguments that attack what shows them; {name: id}. They are due in the next minutes.

    The texts are ids too, and arguments.
    """
    made = {}
    for number, text in enumerate(fleet.shop.HOSTILE):
        task = fleet.shop.app.tasks[text]
        result = task.post((text,), {"text": text}, delay=2 * HOUR + number, task_id=f"{number} {text}"[:200])
        made[text] = result.id
    made["big"] = fleet.shop.remind.post(("<b>" * (BIG // 3),), delay=3 * HOUR, task_id="big").id
    fleet.timer.hold(queue="<i>held</i>", why="<script>window.pwned = 1</script>", by="\x1b[31mmallory")
    return made
