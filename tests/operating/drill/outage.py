"""The hour's outage: what is overdue, what is parked, and what comes due in the next minutes."""

import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from rig.outsider import Outsider

from celery_dtimer import Post

#: Queue and share of the backlog.
BACKLOG = {"mail": 0.6, "reports": 0.3, "pushes": 0.1}

#: Queues of other work: what was posted before the outage, and what is posted meanwhile.
BOOKED, NEW = "bookings", "orders"

TAG = "campaign:spring"

#: The beginnings of the ids.
LATE, TAGGED, PARKED, BOOKED_ID = "late-", "tagged-", "parked-", "booked-"

#: Seconds: the outage began so long ago, and ended so long ago.
BEGAN, ENDED = 3600.0, 30.0

#: Posts that are made at a time.
BATCH = 20_000


def post_all(timer: Outsider, posts: Iterable[Post]) -> None:
    """Post them in batches."""
    rest = iter(posts)
    while batch := list(islice(rest, BATCH)):
        timer.post_many(batch)


def backlog(payload: bytes, kind: str, events: int, tagged: int) -> Iterator[Post]:
    """Overdue events, spread over the outage; the tagged ones are of the first queue, and spread over it."""
    now = datetime.now(UTC)
    for queue, share in BACKLOG.items():
        count = round(events * share)
        every = max(1, count // tagged) if tagged and queue == next(iter(BACKLOG)) else 0
        for number in range(count):
            has_tag = bool(every) and number % every == 0 and number // every < tagged
            overdue = BEGAN - (BEGAN - ENDED) * number / count
            yield Post(
                payload,
                eta=now - timedelta(seconds=overdue),
                id=f"{TAGGED if has_tag else LATE}{queue}-{number}",
                queue=queue,
                kind=kind,
                tags=[TAG] if has_tag else None,
            )


def booked(payload: bytes, kind: str, seconds: float, rates: dict[str, float]) -> Iterator[Post]:
    """Events that come due evenly from now on: {queue: so many a second}."""
    now = datetime.now(UTC)
    for queue, rate in rates.items():
        for number in range(round(seconds * rate)):
            yield Post(
                payload,
                eta=now + timedelta(seconds=number / rate),
                id=f"{BOOKED_ID}{queue}-{number}",
                queue=queue,
                kind=kind,
            )


def park(timer: Outsider, payload: bytes, kind: str, count: int) -> None:
    """Park so many events of the first queue, as their last worker would: before anything else is stored."""
    queue = next(iter(BACKLOG))
    past = datetime.now(UTC) - timedelta(seconds=BEGAN)
    post_all(timer, (Post(payload, eta=past, id=f"{PARKED}{i}", queue=queue, kind=kind) for i in range(count)))
    for store in timer.shards:
        while True:
            call = store.claim(
                [queue], listener="l", holder="gone@host", nonce=uuid.uuid4().hex, room=100, lease_ms=60_000, ahead_ms=0
            )
            deliveries = store.read_claim(store.ask(call), [queue]).deliveries
            if not deliveries:
                break
            store.ask(store.park(queue, deliveries, "the mail server refused it"))
