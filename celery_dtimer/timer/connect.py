"""From a URL to the servers behind it, over redis-py clients whose timeouts are ours.

redis-py 8 gives every connection a ``socket_timeout`` of 5 s, also one that blocks on purpose, and
retries commands on its own; a claim that is sent twice would claim twice. So both are set here.
"""

import os
import re
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.exceptions import RedisError
from redis.retry import Retry

from celery_dtimer.errors import SettingsError
from celery_dtimer.timer import cluster, sentinels
from celery_dtimer.timer.cluster import Cluster
from celery_dtimer.timer.servers import Server

#: Seconds to wait for a connection, and for the answer to a command that does not block.
TIMEOUT = 5.0

CLUSTERS = ("redis+cluster", "rediss+cluster")
SCHEMES = ("redis", "rediss", "unix", "sentinel", *CLUSTERS)

#: Whose hosts and database redis-py does not read: the text of what is wrong with them is ours.
OF_SEVERAL_HOSTS = ("sentinel", *CLUSTERS)

#: Options of a rediss:// URL that name files.
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def connect(url: str) -> Server | Cluster:
    """Return the servers of ``url``; nothing is sent yet.

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
        servers = _servers(scheme, url, options)
    except ValueError as exc:
        # redis-py's text may quote a part of the password.
        why = f": {exc}" if scheme in OF_SEVERAL_HOSTS else ""
        raise SettingsError(
            f"dtimer_url {shown!r} is no URL that redis-py understands{why}; in a password, the characters "
            "/ ? # [ ] @ have to be percent-encoded",
            setting="dtimer_url",
            value=shown,
        ) from None
    _check_options(servers.pool() if isinstance(servers, Cluster) else servers.client.connection_pool, shown)
    return servers


def _servers(scheme: str, url: str, options: dict[str, Any]) -> Server | Cluster:
    if scheme in CLUSTERS:
        return cluster.connect(url, ssl=scheme.startswith("rediss"), **options)
    if scheme == "sentinel":
        return Server(sentinels.connect(url, **options))
    return Server(redis.Redis.from_url(url, **options))


def _check_options(pool: ConnectionPool, shown: str) -> None:
    """Find now what redis-py finds with the first command, and then calls a failure of the server."""
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


def without_password(url: str) -> str:
    """Return the URL as it may be logged, also one that is no URL because of the characters in its password."""
    if ";sentinel://" in url:
        return ";".join(without_password(part) for part in re.split(";(?=sentinel://)", url))
    url = re.sub(r"([?&]\w*password=)[^&]*", r"\1**", url)
    before, at, host = url.rpartition("@")
    scheme, mark, user = before.rpartition("://")
    name, colon, _ = user.partition(":")
    return f"{scheme}{mark}{name}:**@{host}" if at and colon else url
