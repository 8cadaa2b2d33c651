"""From a URL to the servers behind it, over redis-py clients whose timeouts are ours.

redis-py 8 gives every connection a ``socket_timeout`` of 5 s, also one that blocks on purpose, and
retries commands on its own; a claim that is sent twice would claim twice. So both are set here.
"""

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry

from celery_dtimer.errors import SettingsError
from celery_dtimer.timer.connecting import cluster
from celery_dtimer.timer.connecting import sentinel as sentinels
from celery_dtimer.timer.connecting.cluster import Cluster
from celery_dtimer.timer.connecting.credentials import Credentials
from celery_dtimer.timer.connecting.hosts import without_password
from celery_dtimer.timer.connecting.redis_options import check_names, check_values
from celery_dtimer.timer.connecting.server import Server

#: Seconds to wait for a connection, and for the answer to a command that does not block.
TIMEOUT = 5.0

CLUSTERS = ("redis+cluster", "rediss+cluster")
SCHEMES = ("redis", "rediss", "unix", "sentinel", *CLUSTERS)

ENCODED = "in a password, the characters / ? # [ ] @ have to be percent-encoded"

#: Options of a rediss:// URL that name files.
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def connect(url: str, more: Mapping[str, Any] | None = None, *, name: str = "url") -> Server | Cluster:
    """Return the servers of ``url``; nothing is sent yet.

    Args:
        url: Of one of SCHEMES.
        more: redis-py's options of a connection that no URL has: a ``credential_provider``, ``ssl_*`` that are no
            texts. Of a ``sentinel://`` URL, those that begin with ``sentinel_`` are for connections to the sentinels.
        name: The caller's name for the URL, for the errors.

    Raises:
        SettingsError: The URL is none that redis-py understands, has an option that it does not know or that no timer
            can live with, or names a file that is not there.
    """
    shown = without_password(url)
    try:
        servers = _servers(url, dict(more or {}))
        _check_pool(servers.pool() if isinstance(servers, Cluster) else servers.client.connection_pool)
    except ValueError as exc:
        wrong = str(exc)
    else:
        return servers
    # Not in the clause above: an error raised there keeps redis-py's, whose text may quote a part of the password.
    raise SettingsError(f"{name} {shown!r} {wrong}", setting=name, value=shown)


def _servers(url: str, more: dict[str, Any]) -> Server | Cluster:
    """Make the servers of a URL.

    Raises:
        ValueError: It is wrong. The text shows no part of it that may be of its password.
    """
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES or "://" not in url:
        raise ValueError(f"must be a URL of {', '.join(f'{s}://' for s in SCHEMES)}")
    try:
        url.encode()
    except UnicodeEncodeError:
        raise ValueError("has a character that no server can be sent") from None
    if "credential_provider" in more:
        more["credential_provider"] = Credentials(more["credential_provider"])
    check_names(url)
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
        if scheme in CLUSTERS:
            return cluster.connect(url, ssl=scheme.startswith("rediss"), **options)
        if scheme == "sentinel":
            return Server(sentinels.connect(url, more, **options))
    except ValueError as exc:
        raise ValueError(f"is no URL that redis-py understands: {exc}; {ENCODED}") from None
    return Server(_client(scheme, url, **options, **more))


def _client(scheme: str, url: str, **options: Any) -> redis.Redis:
    try:
        path, port = unquote(urlsplit(url).path), urlsplit(url).port
        client = redis.Redis.from_url(url, **options)
    except ValueError:
        # redis-py's text may quote a part of the password.
        raise ValueError(f"is no URL that redis-py understands; {ENCODED}") from None
    if scheme == "unix" and not path:
        raise ValueError("must have the path of a socket")
    if scheme != "unix" and not (path.strip("/") or "0").isdecimal():
        # redis-py would go to database 0.
        raise ValueError("must end with the number of a database, or with nothing")
    if port == 0:
        raise ValueError("has the port 0; ports are 1 to 65535")
    return client


def _check_pool(pool: ConnectionPool) -> None:
    """Find wrong options now, which redis-py finds with the first command, and takes for failures of the server.

    Raises:
        ValueError: It is wrong; the text follows the URL.
    """
    check_values(pool.connection_kwargs)
    try:
        # It is not opened.
        pool.connection_class(**pool.connection_kwargs)
    except Exception as exc:  # noqa: BLE001 - whatever redis-py makes of a value that it does not check
        raise ValueError(f"has an option that redis-py does not take there ({' '.join(str(exc).split())})") from None
    for option in TLS_FILES:
        file = pool.connection_kwargs.get(option)
        if file is not None and not os.access(file, os.R_OK):
            raise ValueError(f"has {option}={file!r}, which is no file that can be read")
