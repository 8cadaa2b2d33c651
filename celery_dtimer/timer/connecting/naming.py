"""The names of listeners' connections, by which Redis tells whether a listener makes rounds, without asking it."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import redis
from redis.exceptions import ResponseError


class Named:
    """Names a connection when it connects; redis-py's ``redis_connect_func``.

    A name that the URL has stays: somebody looks for it. A server that refuses names, by its ACL, is used without.

    Args:
        name: Of the connection. Redis refuses one with a space.
        before: What the connection would call otherwise.
    """

    def __init__(self, name: str, before: Callable[[Any], Any] | None) -> None:
        self.name = name
        self.before = before

    def __call__(self, connection: Any) -> None:
        """Let it log in, then name it."""
        if self.before is None:
            connection.on_connect()
        else:
            self.before(connection)
        if not connection.client_name:
            with suppress(ResponseError):
                connection.send_command("CLIENT", "SETNAME", self.name, check_health=False)
                connection.read_response()


def listener_name(owner: str, holder: str) -> str:
    """Return the name of the connection over which a listener makes its rounds; owner is as in the names of keys."""
    return f"dtimer:{owner}:{holder}"


def with_name(options: dict[str, Any], name: str | None) -> dict[str, Any]:
    """Return redis-py's options of connections that have this name, if it is one."""
    if name is None:
        return options
    return {**options, "redis_connect_func": Named(name, options.get("redis_connect_func"))}


def without_name(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a connection that makes no rounds: one that blocks, say."""
    named = options.get("redis_connect_func")
    return {**options, "redis_connect_func": named.before} if isinstance(named, Named) else options


def seen(clients: Iterable[redis.Redis], owner: str) -> dict[str, float]:
    """Return for each holder whose listener is connected the seconds since its last round was sent.

    Of several connections, the latest counts. It costs each server a walk through its clients.

    Raises:
        redis.RedisError, OSError: A server refuses to list its clients, or does not answer.
    """
    start = listener_name(owner, "")
    found: dict[str, float] = {}
    for client in clients:
        rows: Any = client.client_list()
        for row in rows:
            if row.get("name", "").startswith(start):
                holder, idle = row["name"].removeprefix(start), float(row["idle"])
                found[holder] = min(idle, found.get(holder, idle))
    return found
