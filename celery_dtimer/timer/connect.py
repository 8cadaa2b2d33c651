"""From a URL to a redis-py client whose timeouts are ours.

redis-py 8 gives every connection a ``socket_timeout`` of 5 s, also one that blocks on purpose, and
retries commands on its own; a claim that is sent twice would claim twice. So both are set here.
"""

import copy
import os
import re
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

from celery_dtimer.errors import SettingsError
from celery_dtimer.timer import sentinels

#: Seconds to wait for a connection, and for the answer to a command that does not block.
TIMEOUT = 5.0

#: Seconds that a wake connection blocks at a time. Its socket may wait a little longer than that.
BLOCK = 30.0

SCHEMES = ("redis", "rediss", "unix", "sentinel")

#: Options of a rediss:// URL that name files.
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def connect(url: str) -> redis.Redis:
    """Return a client for ``url``; nothing is sent yet.

    Raises:
        SettingsError: The URL is none that redis-py understands, has an option that it does not know, or names a file
            that is not there.
    """
    scheme = url.partition("://")[0]
    shown = without_password(url)
    if scheme not in SCHEMES:
        raise SettingsError(
            f"dtimer_url is a URL of {', '.join(f'{s}://' for s in SCHEMES)}, not {shown!r}",
            setting="dtimer_url",
            value=shown,
        )
    options: dict[str, Any] = {
        "protocol": 2,
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
    }
    if scheme != "unix":
        # A connection to a Unix socket knows no such option.
        options["socket_keepalive"] = True
    try:
        client = sentinels.connect(url, **options) if scheme == "sentinel" else redis.Redis.from_url(url, **options)
    except ValueError as exc:
        # redis-py's text may quote a part of the password.
        why = f": {exc}" if scheme == "sentinel" else ""
        raise SettingsError(
            f"dtimer_url {shown!r} is no URL that redis-py understands{why}; in a password, the characters "
            "/ ? # [ ] @ have to be percent-encoded",
            setting="dtimer_url",
            value=shown,
        ) from None
    _check_options(client, shown)
    return client


def _check_options(client: redis.Redis, shown: str) -> None:
    """Find now what redis-py finds with the first command, and then calls a failure of the server."""
    pool = client.connection_pool
    try:
        # It is not opened.
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, RedisError) as exc:
        raise SettingsError(
            f"dtimer_url {shown!r} has an option that redis-py does not take there ({exc})",
            setting="dtimer_url",
            value=shown,
        ) from exc
    for option in TLS_FILES:
        file = pool.connection_kwargs.get(option)
        if file is not None and not os.access(file, os.R_OK):
            raise SettingsError(
                f"dtimer_url {shown!r} has {option}={file!r}, which is no file that can be read",
                setting="dtimer_url",
                value=shown,
            )


def blocking_twin(client: redis.Redis) -> redis.Redis:
    """Return a client for the same server with a pool of its own, for commands that block for BLOCK s."""
    pool = client.connection_pool
    options = copy.copy(pool.connection_kwargs)
    options["socket_timeout"] = BLOCK + TIMEOUT
    # Taking its socket away is how a blocked command is ended: it must not be sent again then.
    options["retry"] = Retry(NoBackoff(), 0)
    options["connection_class"] = pool.connection_class
    if not isinstance(pool, SentinelConnectionPool):
        return redis.Redis(connection_pool=type(pool)(**options))
    manager = pool.sentinel_manager
    options["connection_pool"] = None  # the pool puts itself there
    twin = type(pool)(pool.service_name, manager, **options)
    if isinstance(manager, sentinels.Sentinels):
        manager.watch(twin)
    return redis.Redis(connection_pool=twin)


def leave_replica(client: redis.Redis, exc: Exception) -> None:
    """Drop a client's idle connections if ``exc`` says that they lead to a replica: the old master, after a failover.

    The next one is made to where the URL leads now. Connections in use meet the same error, and are idle then.
    """
    # In the scripts of a Redis 6 it is a ResponseError like any other.
    if isinstance(exc, ReadOnlyError) or "READONLY" in str(exc):
        client.connection_pool.disconnect(inuse_connections=False)


def without_password(url: str) -> str:
    """Return the URL as it may be logged, also one that is no URL because of the characters in its password."""
    if ";sentinel://" in url:
        return ";".join(without_password(part) for part in re.split(";(?=sentinel://)", url))
    url = re.sub(r"([?&]\w*password=)[^&]*", r"\1**", url)
    before, at, host = url.rpartition("@")
    scheme, mark, user = before.rpartition("://")
    name, colon, _ = user.partition(":")
    return f"{scheme}{mark}{name}:**@{host}" if at and colon else url
