"""Redis Sentinel: from a sentinel:// URL to a client that follows the master.

redis-py's own classes find the master whenever they connect; these change what a timer can't accept.
"""

import re
from collections.abc import Mapping
from typing import Any

import redis
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from celery_dtimer.timer.connecting import hosts as urls
from celery_dtimer.timer.connecting.redis_patches import ReadsToTheEnd, survive_forks

#: Port of a sentinel, unless the URL has one.
PORT = 26379

#: Seconds to wait for a sentinel: the cost of one that is cut off, since they are asked one after the other.
TIMEOUT = 1.0

SHAPE = "sentinel://[user:password@]host[:port][,host[:port]...][/database]?master_name=name"


class MasterConnection(ReadsToTheEnd, SentinelManagedConnection):
    """A connection to the master of the moment when it connects."""


class MasterSSLConnection(ReadsToTheEnd, SentinelManagedSSLConnection):
    """The same over TLS."""


class Sentinels(Sentinel):
    """The sentinels of one master, asked whenever a connection is made. No connection to them is kept.

    Args:
        hosts: (host, port) of each.
        sentinel_kwargs: redis-py's options for connections to them.
        min_other_sentinels: One that sees fewer others is not believed.
    """

    def __init__(self, hosts: list[tuple[str, int]], sentinel_kwargs: dict[str, Any], min_other_sentinels: int) -> None:
        super().__init__(hosts, min_other_sentinels, sentinel_kwargs)  # type: ignore[no-untyped-call] # it has no types
        for sentinel in self.sentinels:
            survive_forks(sentinel.connection_pool)
        self._hosts = ", ".join(f"{host}:{port}" for host, port in hosts)

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return the master's (host, port), by the first sentinel that knows one which is up.

        Raises:
            MasterNotFoundError: None does, or none answers. It is a redis.ConnectionError.
        """
        heard = []
        for sentinel in self.sentinels:
            try:
                masters: Any = sentinel.sentinel_masters()
            except (redis.RedisError, OSError) as exc:
                heard.append(str(exc))
                continue
            finally:
                sentinel.connection_pool.disconnect(inuse_connections=False)
            state = masters.get(service_name)
            if state and _is_up(state) and state["num-other-sentinels"] >= self.min_other_sentinels:
                # The next time, this one is asked first. Threads share the list: it is replaced, not changed.
                self.sentinels = [sentinel, *(other for other in self.sentinels if other is not sentinel)]
                return state["ip"], state["port"]
            heard.append("it is not up, or too few sentinels see it" if state else "an unknown name")
        raise MasterNotFoundError(f"no sentinel of {self._hosts} has a master {service_name!r}: {'; '.join(heard)}")


def _is_up(state: dict[str, Any]) -> bool:
    return bool(state["is_master"] and not state["is_sdown"] and not state["is_odown"])


def connect(url: str, more: Mapping[str, Any], **defaults: Any) -> redis.Redis:
    """Return a client of the master that the sentinels of ``url`` name; nothing is sent yet.

    Besides ``master_name``, the URL's query may have ``min_other_sentinels``, ``ssl=true``, and redis-py's options for
    connections to the Redis; with ``sentinel_`` in front, those for connections to the sentinels.

    Args:
        url: Of the form SHAPE; or kombu's, ``sentinel://host;sentinel://host``.
        more: Options of both kinds that are no texts.
        defaults: redis-py's options, where the URL has none.

    Raises:
        ValueError: The URL is none of those. The text shows no part of it but the names of options.
    """
    parts = urls.split(url, PORT, SHAPE)
    query = parts.query
    master_name = query.pop("master_name", "")
    if not master_name:
        raise ValueError("it lacks ?master_name=, the name that the sentinels know the master by")
    least = query.pop("min_other_sentinels", "0")
    if not least.isdecimal():
        raise ValueError("min_other_sentinels is a whole number from 0 on")
    of_sentinels = {k.removeprefix("sentinel_"): query.pop(k) for k in list(query) if k.startswith("sentinel_")}
    ssl, sentinel_ssl = _flag(query), _flag(of_sentinels)
    options = urls.options(query, ssl=ssl, user=parts.user, database=parts.database)
    timeouts = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    to_sentinels = {**defaults, **timeouts, **urls.options(of_sentinels, ssl=sentinel_ssl), "ssl": sentinel_ssl}
    for name, value in more.items():
        (to_sentinels if name.startswith("sentinel_") else options)[name.removeprefix("sentinel_")] = value
    try:
        sentinels = Sentinels(parts.hosts, to_sentinels, int(least))
        pool = SentinelConnectionPool(
            master_name,
            sentinels,
            connection_class=MasterSSLConnection if ssl else MasterConnection,
            **{**defaults, **options},
        )
    except TypeError as exc:
        unknown = re.search(r"'\w+'$", str(exc))
        raise ValueError(f"redis-py has no option {unknown[0] if unknown else 'of one of these names'}") from None
    return redis.Redis(connection_pool=pool)


def _flag(query: dict[str, str]) -> bool:
    return query.pop("ssl", "false").lower() in ("true", "1", "yes", "on")
