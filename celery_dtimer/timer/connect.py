"""From a URL to a redis-py client whose timeouts are ours.

redis-py 8 gives every connection a ``socket_timeout`` of 5 s, also one that blocks on purpose, and
retries commands on its own; a claim that is sent twice would claim twice. So both are set here.
"""

import copy
from urllib.parse import urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from celery_dtimer.errors import SettingsError

#: Seconds to wait for a connection, and for the answer to a command that does not block.
TIMEOUT = 5.0

#: Seconds that a wake connection blocks at a time. Its socket may wait a little longer than that.
BLOCK = 30.0

SCHEMES = ("redis", "rediss", "unix")


def connect(url: str) -> redis.Redis:
    """Return a client for ``url``; nothing is sent yet.

    Raises:
        SettingsError: The URL is none that redis-py understands.
    """
    scheme = urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise SettingsError(
            f"dtimer_url is a URL of {', '.join(f'{s}://' for s in SCHEMES)}, not {without_password(url)!r}",
            setting="dtimer_url",
            value=without_password(url),
        )
    try:
        return redis.Redis.from_url(
            url,
            protocol=2,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            socket_keepalive=scheme != "unix",
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as exc:
        raise SettingsError(
            f"dtimer_url {without_password(url)!r}: {exc}", setting="dtimer_url", value=without_password(url)
        ) from exc


def blocking_twin(client: redis.Redis) -> redis.Redis:
    """Return a client for the same server with a pool of its own, for commands that block for BLOCK s."""
    pool = client.connection_pool
    options = copy.copy(pool.connection_kwargs)
    options["socket_timeout"] = BLOCK + TIMEOUT
    twin = type(pool)(connection_class=pool.connection_class, **options)
    return redis.Redis(connection_pool=twin)


def without_password(url: str) -> str:
    """Return the URL as it may be logged."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    user, _, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{name}:**@{host}"))
