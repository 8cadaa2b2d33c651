"""Fixtures that every test may ask for."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import zip_longest

import pytest
import redis
from celery import Celery, _state
from rig import declared
from rig.keyspace import forgotten
from rig.projects import close_app
from rig.servers import RedisServer
from rig.waiting import wait_until

from celery_dtimer import install

pytest.register_assert_rewrite("rig.core")

declared.install()

pytest_plugins = ["celery_dtimer.testing.nodes.plugin", "rig.plugin", "rig.timed"]

LAST_CONFIRMS = 5.0  # seconds; a worker takes some milliseconds

watched_server = pytest.StashKey[RedisServer]()


@pytest.hookimpl(trylast=True)  # after the shuffle
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start the tests that may take longer than others first, on different processes: nobody waits for them at the end.

    A process gets two tests at a time (``--maxschedchunk 2``), so each second one is long.
    """
    usual = float(config.getini("timeout") or 0)
    limits = {item: item.get_closest_marker("timeout") for item in items}
    long = [item for item, limit in limits.items() if limit and limit.args[0] > usual]
    others = [item for item in items if item not in set(long)]
    items[:] = [item for pair in zip_longest(long, others) for item in pair if item is not None]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server that the tests of this process share; one who wants to break a server starts another."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(request: pytest.FixtureRequest, redis_server: RedisServer) -> str:
    """The URL of an empty database, which is looked through for forgotten keys after the test."""
    with redis_server.client() as client:
        client.flushall()
    request.node.stash[watched_server] = redis_server
    return redis_server.url


@pytest.fixture
def redis_client(redis_server: RedisServer, redis_url: str) -> Iterator[redis.Redis]:
    """A client of that database, answering bytes."""
    with redis_server.client() as client:
        yield client


@pytest.fixture
def start_redis() -> Iterator[Callable[..., RedisServer]]:
    """Starts servers that belong to the test alone; takes what `RedisServer` takes."""
    with ExitStack() as servers:

        def start(**arguments: object) -> RedisServer:
            server = RedisServer(**arguments)
            servers.callback(server.close)
            return server.start()

        yield start


@pytest.fixture
def make_app() -> Iterator[Callable[..., Celery]]:
    """Makes Celery apps: over a memory broker with a default queue of its own, installed, and configured.

    What an app leaves in this process is undone after the test: the current app, and shared tasks, which Celery
    gives to every app there is.
    """
    current = _state._tls.current_app
    finalizers = set(_state._on_app_finalizers)
    tasks = {app: set(app._tasks) for app in _state._get_active_apps()}
    apps = []

    def make(
        main: str = "shop",
        *,
        installed: bool = True,
        broker: str = "memory://",
        kind: type[Celery] = Celery,
        **settings: object,
    ) -> Celery:
        app = kind(main, broker=broker)
        apps.append(app)
        app.conf.update({"task_default_queue": f"queue-{uuid.uuid4()}", **settings})
        return install(app) if installed else app

    yield make
    for app in apps:
        close_app(app)
    _state._tls.current_app = current
    _state._on_app_finalizers.intersection_update(finalizers)
    for app, before in tasks.items():
        for name in set(app._tasks) - before:
            del app._tasks[name]


@pytest.fixture
def expected_keys() -> list[str]:
    """Glob patterns of the timer's keys that may outlive the test; a test appends its own."""
    return []


@pytest.fixture(autouse=True)
def no_key_left_behind(request: pytest.FixtureRequest, expected_keys: list[str]) -> Iterator[None]:
    """Fail a test that leaves a key of the timer (``{namespace:shard}:...``) which it did not expect to.

    Keys that expire by themselves within seconds are not left behind.

    Set up before and so torn down after everything else, workers included. It looks only at a database that
    the test was given, and starts no server for a test that uses none.
    """
    yield
    server = request.node.stash.get(watched_server, None)
    if server is None:
        return
    with server.client() as client:
        left = forgotten(client, expected_keys)
    if left:
        pytest.fail(f"keys left behind: {left}; expected were: {expected_keys}", pytrace=False)


@pytest.fixture
def last_confirms(request: pytest.FixtureRequest, expected_keys: list[str]) -> Callable[[], None]:
    """Waits for what the workers still have to say to the timer when a test is over.

    A task's result is stored before its event is confirmed, so a test that ends with a result ends before the
    confirm. Gives up after some seconds, without an error: ``no_key_left_behind`` says what is left.
    """

    def wait() -> None:
        server = request.node.stash.get(watched_server, None)
        if server is None:
            return
        with server.client() as client, suppress(AssertionError, redis.RedisError):
            wait_until(lambda: not forgotten(client, expected_keys), "the last confirms", LAST_CONFIRMS)

    return wait
