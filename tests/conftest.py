"""Fixtures that every test may ask for."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fnmatch import fnmatchcase

import pytest
import redis
from rig.servers import RedisServer

pytest_plugins = ["rig.plugin"]

watched_server = pytest.StashKey[RedisServer]()


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
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of that database, answering bytes."""
    with redis.Redis.from_url(redis_url) as client:
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
def expected_keys() -> list[str]:
    """Glob patterns of the timer's keys that may outlive the test; a test appends its own."""
    return []


@pytest.fixture(autouse=True)
def no_key_left_behind(request: pytest.FixtureRequest, expected_keys: list[str]) -> Iterator[None]:
    """Fail a test that leaves a key of the timer (``{namespace:shard}:...``) which it did not expect to.

    Set up before and so torn down after everything else, workers included. It looks only at a database that
    the test was given, and starts no server for a test that uses none.
    """
    yield
    server = request.node.stash.get(watched_server, None)
    if server is None:
        return
    with server.client() as client:
        found = sorted(key.decode(errors="backslashreplace") for key in client.scan_iter(match="{*", count=1000))
    left = [key for key in found if not any(fnmatchcase(key, pattern) for pattern in expected_keys)]
    if left:
        pytest.fail(f"keys left behind: {left}; expected were: {expected_keys}", pytrace=False)
