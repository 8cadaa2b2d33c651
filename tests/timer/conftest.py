"""A timer on the shared server, and claims of it without a listener."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import redis
from rig.keyspace import finish

from celery_dtimer.timer.dtimer import DTimer
from celery_dtimer.timer.events import Delivery
from celery_dtimer.timer.storing.shard import Store


@pytest.fixture
def timer(redis_client: redis.Redis, redis_url: str) -> Iterator[DTimer]:
    """A timer that has not joined; all of its events are ended after the test, and must leave nothing."""
    with DTimer(redis_url) as timer:
        yield timer
        finish(timer.shards[0], redis_client)


@pytest.fixture
def store(timer: DTimer) -> Store:
    """That timer's store."""
    return timer.shards[0]


@pytest.fixture
def claim(store: Store) -> Callable[..., list[Delivery]]:
    """Claims what is due, as a listener would: ``claim(*queues, room, lease_ms, parked)``.

    Ids that the claim parked are added to the list ``parked``.
    """
    nonces = (f"nonce{i}" for i in itertools.count())

    def claim(
        *queues: str,
        room: int = 100,
        lease_ms: int = 60_000,
        listener: str = "listener",
        holder: str = "holder",
        parked: list[str] | None = None,
        ahead_ms: int = 0,
        **limits: Any,
    ) -> list[Delivery]:
        names: Sequence[str] = queues or ("default",)
        call = store.claim(
            names,
            listener=listener,
            holder=holder,
            nonce=next(nonces),
            room=room,
            lease_ms=lease_ms,
            ahead_ms=ahead_ms,
            **limits,
        )
        claimed = store.read_claim(store.ask(call), names)
        if parked is not None:
            parked += claimed.parked
        return claimed.deliveries

    return claim


@pytest.fixture
def now_ms(redis_client: redis.Redis) -> Callable[[], int]:
    """The server's clock, in whole milliseconds, rounded down."""

    def now_ms() -> int:
        seconds, microseconds = redis_client.time()
        return seconds * 1000 + microseconds // 1000

    return now_ms
