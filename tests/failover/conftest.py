"""A master, its replica and three sentinels, for each test: they take some seconds to find each other."""

from collections.abc import Callable, Iterator

import pytest
from rig.sentinels import SentinelFleet

from celery_dtimer import DTimer


@pytest.fixture
def fleet() -> Iterator[SentinelFleet]:
    with SentinelFleet() as fleet:
        yield fleet


@pytest.fixture(scope="session")
def calm_fleet() -> Iterator[SentinelFleet]:
    """One whose master nobody kills."""
    with SentinelFleet() as fleet:
        yield fleet


@pytest.fixture
def make_timer(fleet: SentinelFleet) -> Iterator[Callable[..., DTimer]]:
    """Makes timers of the fleet: with ``DTimer``'s arguments, by the fleet's URL unless there is another."""
    timers = []

    def make(url: object = None, **options: object) -> DTimer:
        timers.append(DTimer(url or fleet.url, **options))
        return timers[-1]

    yield make
    for timer in timers:
        timer.close()
