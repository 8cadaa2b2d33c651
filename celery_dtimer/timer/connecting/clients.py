"""The servers of a URL or of a redis-py client, and the clients that no timer can use."""

import codecs
from typing import Any

import redis
import redis.asyncio
from redis.client import Pipeline
from redis.sentinel import Sentinel

from celery_dtimer.errors import InvalidEventError
from celery_dtimer.timer.connecting.cluster import Cluster
from celery_dtimer.timer.connecting.hosts import without_password
from celery_dtimer.timer.connecting.redis_patches import never_repeating
from celery_dtimer.timer.connecting.server import Server
from celery_dtimer.timer.connecting.url import connect
from celery_dtimer.timer.owners import DTIMER

ARGUMENT = DTIMER.named("url")

#: Objects that are like a client of one server, and what to give instead.
NEAR: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (
        (redis.asyncio.Redis, redis.asyncio.RedisCluster, redis.asyncio.ConnectionPool),
        "its listener is a thread, which can't await: give a redis.Redis, of the same server",
    ),
    (redis.RedisCluster, "give the URL of the cluster, redis+cluster://"),
    (Sentinel, "give what its master_for() returns, or a sentinel:// URL"),
    (redis.ConnectionPool, "give redis.Redis(connection_pool=...)"),
    (Pipeline, "it sends nothing before it is told to: give the client that it was made of"),
)


def servers_of(given: object) -> Server | Cluster:
    """Return the servers of a URL, or of a client.

    Raises:
        SettingsError: The URL is none.
        InvalidEventError: No timer can use the client.
    """
    if isinstance(given, str):
        return connect(given, name=ARGUMENT)
    for kinds, instead in NEAR:
        if isinstance(given, kinds):
            raise _refusal(given, f"a DTimer can't use a {_kind(given)}: {instead}")
    if not isinstance(given, redis.Redis):
        raise _refusal(given, f"{ARGUMENT} is a URL, a string, or a redis.Redis, not {_kind(given)}")
    _check_client(given)
    return Server(never_repeating(given))


def _check_client(client: redis.Redis) -> None:
    if client.connection is not None:
        raise _refusal(client, "the client has single_connection_client, and a timer has several threads: leave it out")
    pool: Any = client.connection_pool
    if not getattr(pool, "is_master", True):
        raise _refusal(client, "the client is one of slave_for(), and replicas only read: give one of master_for()")
    encoder: Any = client.get_encoder()
    if encoder.decode_responses:
        raise _refusal(client, "the client has decode_responses, and payloads are bytes: give one without")
    try:
        encoding = codecs.lookup(encoder.encoding).name
    except (LookupError, TypeError):
        encoding = "none"
    if encoding != "utf-8":
        raise _refusal(client, f"the client has encoding={encoder.encoding!r}, and names are stored in utf-8")


def _refusal(given: object, message: str) -> InvalidEventError:
    # Only its type, since the object may have a password.
    return InvalidEventError(message, argument=ARGUMENT, value=type(given))


def _kind(given: object) -> str:
    kind = type(given)
    module = "" if kind.__module__ == "builtins" else kind.__module__ + "."
    return module + kind.__qualname__


def place_of(given: str | redis.Redis) -> str:
    """Return the place of a URL or a client, without a password."""
    if isinstance(given, str):
        return without_password(given)
    options = given.connection_pool.connection_kwargs
    service = getattr(given.connection_pool, "service_name", None)
    host = options.get("path") or service or f"{options.get('host', '?')}:{options.get('port', '?')}"
    return f"{_kind(given)} of {host}/{options.get('db', 0)}"
