"""The clock of a test: a namespace's scripts read it from a key of theirs, and not from Redis' own clock.

It stands still until it is set. So all that a script decides by the time, such as what is due, is true of that time.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import redis
from redis.connection import ConnectionInterface

from celery_dtimer.timer.connecting.cluster import Cluster
from celery_dtimer.timer.connecting.server import Command, Server
from celery_dtimer.timer.storing.keys import TYPES
from celery_dtimer.timer.storing.namespace import Shards
from celery_dtimer.timer.storing.scripts import NAMES, Script, load

#: The key of the clock, behind the prefix of its shard: microseconds since 1970.
CLOCK = "clock"

#: How a script asks for the time, and what it does in a test. Without the key, it is Redis' time.
ASKED = "redis.call('TIME')"
PRELUDE = f"""
local the_clock = redis.call('GET', table.remove(KEYS))
local the_time = the_clock and {{ string.sub(the_clock, 1, -7), string.sub(the_clock, -6) }} or {ASKED}
"""


@cache
def by_test_clock(script: Script) -> Script:
    """Return a script as one that reads the clock of a test."""
    source = PRELUDE + script.source.replace(ASKED, "the_time")
    return replace(script, source=source, sha=hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def in_test_time(command: Command) -> Command:
    """Return a command that runs, or loads, a script by the clock of the test; any other as it is."""
    name = command[0]
    if name not in ("EVALSHA", "EVAL", "SCRIPT LOAD"):
        return command
    known = "sha" if name == "EVALSHA" else "source"
    script = next(script for script in map(load, NAMES) if getattr(script, known) == command[1])
    wanted = getattr(by_test_clock(script), known)
    if name == "SCRIPT LOAD":
        return (name, wanted)
    count, rest = command[2], command[3:]
    clock = rest[0][: rest[0].index("}:") + 2] + CLOCK
    return (name, wanted, count + 1, *rest[:count], clock, *rest[count:])


class ClockedServer(Server):
    """A server, or a cluster, whose scripts go by the clock of the test.

    Args:
        server: The server itself.
    """

    def __init__(self, server: Server | Cluster) -> None:
        self._server: Any = server
        self.in_cluster = getattr(server, "in_cluster", False)

    @property
    def client(self) -> redis.Redis:
        """The redis-py client; a cluster has none."""
        client: redis.Redis = self._server.client
        return client

    def send(
        self,
        commands: Sequence[Command],
        *,
        together: bool = False,
        patience: float = 0.0,
        meanwhile: Callable[[], None] | None = None,
    ) -> list[Any]:
        """Send commands, see ``Server.send``; a cluster's are sent to the server of a key."""
        replies: list[Any] = self._server.send(
            [in_test_time(command) for command in commands], together=together, patience=patience, meanwhile=meanwhile
        )
        return replies

    def awaited(self, commands: Sequence[Command]) -> tuple[Server, Sequence[Command]]:
        """Return the server itself, and the commands as they go by the clock of the test."""
        return self._server, [in_test_time(command) for command in commands]

    def known(self) -> list[Server]:
        """Return each server that has been spoken to."""
        known: list[Server] = self._server.known()
        return known

    def connection(self) -> ConnectionInterface:
        """Return a connection for the caller alone."""
        connection: ConnectionInterface = self._server.connection()
        return connection

    def apart(self, name: str | None = None) -> "ClockedServer":
        """Return the same server over connections of its own."""
        return ClockedServer(self._server.apart(name))

    def of(self, key: str) -> "ClockedServer":
        """Return the server of a key."""
        return ClockedServer(self._server.of(key))

    def clients(self) -> list[redis.Redis]:
        """Return a client of each server that is written to."""
        clients: list[redis.Redis] = self._server.clients()
        return clients

    def disconnect(self) -> None:
        """Close the idle connections."""
        self._server.disconnect()

    def close(self) -> None:
        """Close all connections."""
        self._server.close()


def set_clock(shards: Shards, now_ms: int) -> None:
    """Set the clock of a namespace, in milliseconds since 1970.

    Raises:
        redis.RedisError, OSError: Redis did not answer.
    """
    for store in shards:
        _ask(store.server, ("SET", store.keys.prefix + CLOCK, f"{now_ms}000"))


def read_clock(shards: Shards) -> int:
    """Return the clock of a namespace, in milliseconds since 1970: whichever process has set it.

    Raises:
        redis.RedisError, OSError: Redis did not answer.
    """
    return int(_ask(shards[0].server, ("GET", shards[0].keys.prefix + CLOCK))) // 1000


def wake(shards: Shards, queues: Sequence[str]) -> None:
    """Let those who listen for some queues look what is due: the clock was set, which no listener notices."""
    for store in shards:
        for queue in queues:
            # A list holds one token at most.
            if not _ask(store.server, ("LLEN", store.keys.wake(queue))):
                _ask(store.server, ("RPUSH", store.keys.wake(queue), "1"))


def delete(shards: Shards) -> None:
    """Delete all keys of a namespace; nothing is looked for that is not known by its name.

    Raises:
        redis.RedisError, OSError: Redis did not answer.
    """
    for store in shards:
        keys = store.keys
        queues = [queue.decode() for queue in _ask(store.server, ("HKEYS", keys.promise))]
        names = [keys.prefix + name for name in (*TYPES, CLOCK)]
        _ask(store.server, ("DEL", *names, *keys.named((), queues)))


def _ask(server: Server, command: Command) -> Any:
    reply = server.send([command])[0]
    if isinstance(reply, Exception):
        raise reply
    return reply
