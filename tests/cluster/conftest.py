"""A server and a cluster that nobody breaks, for all tests; a cluster of its own for each test that breaks one."""

from collections.abc import Callable, Iterator

import pytest
from members import Member, Place
from rig.brokers import BrokerPlace
from rig.cluster import ClusterFleet
from rig.plugin import BROKER_DATABASE
from rig.servers import RedisServer
from rig.waiting import wait_until

from celery_dtimer import DTimer

SHARDS = 3  # of the namespace dt, each with another of three masters


@pytest.fixture(scope="session")
def calm_fleet() -> Iterator[ClusterFleet]:
    """One whose nodes nobody kills; its slots may move."""
    with ClusterFleet() as fleet:
        yield fleet


@pytest.fixture
def calm(calm_fleet: ClusterFleet) -> Iterator[ClusterFleet]:
    """The same, empty; it is looked through for forgotten keys after the test."""
    for server in calm_fleet.masters():
        with server.client() as client:
            client.flushall()
    yield calm_fleet
    # What expires does so within two seconds.
    wait_until(lambda: not left_behind(calm_fleet), f"no key to be left behind: {left_behind(calm_fleet)}", 5)


def left_behind(fleet: ClusterFleet) -> list[bytes]:
    """The timer's keys on all masters, but for the numbers of shards."""
    keys = []
    for server in fleet.masters():
        with server.client() as client:
            keys += client.keys("{*")
    return [key for key in keys if not key.endswith(b"}:layout")]


@pytest.fixture
def fleet() -> Iterator[ClusterFleet]:
    """One that the test may break: three masters with a replica each."""
    with ClusterFleet() as fleet:
        yield fleet


@pytest.fixture
def bare_fleet() -> Iterator[ClusterFleet]:
    """One without replicas: what a node has nobody else serves, as long as it is away."""
    with ClusterFleet(replicas=0) as fleet:
        yield fleet


@pytest.fixture(params=["a server", "a cluster"])
def place(request: pytest.FixtureRequest, expected_keys: list[str]) -> Place:
    """Where the shards are: all on one server, or on the three masters of a cluster."""
    if request.param == "a cluster":
        calm = request.getfixturevalue("calm")
        return Place(calm.url, calm.masters())
    return Place(request.getfixturevalue("redis_url"), [request.getfixturevalue("redis_server")])


@pytest.fixture
def make_timer() -> Iterator[Callable[..., DTimer]]:
    """Makes timers that are closed after the test: ``make_timer(url, **options of DTimer)``."""
    timers = []

    def make(url: str, **options: object) -> DTimer:
        timers.append(DTimer(url, **{"shards": SHARDS, **options}))
        return timers[-1]

    yield make
    for timer in timers:
        timer.close()


@pytest.fixture
def join() -> Iterator[Callable[..., Member]]:
    """Makes timers that have joined: ``join(url, act=..., **options of DTimer)``; see `Member`."""
    members = []

    def join(url: str, **options: object) -> Member:
        members.append(Member(url, **{"shards": SHARDS, **options}))
        return members[-1]

    yield join
    for member in members:
        member.timer.close()


@pytest.fixture
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks of their own accord: what is not announced by a promise or a wake token stays where it is."""
    monkeypatch.setitem(DTimer.__init__.__kwdefaults__, "poll_interval", 60)


@pytest.fixture
def broker_place(redis_server: RedisServer, redis_url: str) -> BrokerPlace:
    """A broker that does not fail, and the number of shards among the settings of the project."""
    return BrokerPlace(redis_server.url_of(BROKER_DATABASE), settings={"dtimer_shards": SHARDS})
