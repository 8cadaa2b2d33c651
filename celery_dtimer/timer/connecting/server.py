"""The server of a command: one Redis, the master that sentinels name, or, in cluster.py, the node of a slot."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis.connection import ConnectionInterface
from redis.exceptions import ResponseError

from celery_dtimer.timer.connecting.direct import Direct
from celery_dtimer.timer.connecting.naming import without_name
from celery_dtimer.timer.connecting.redis_patches import (
    ApartPool,
    cluster_error,
    is_exhausted,
    leave_replica,
    survive_forks,
)

#: redis-py's errors after which a command may or may not have been carried out.
UNAVAILABLE = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)

#: Seconds to wait for a connection of a pool whose connections are all in use, in more threads or greenlets than it
#: may have connections: as long as two of them may wait for a server that does not answer.
PATIENCE = 10.0

#: Seconds between two looks at such a pool: doubled from the first to the last.
LOOK_FIRST, LOOK_LAST = 0.001, 0.05

Command = tuple[Any, ...]


class NotAskedError(redis.ConnectionError):
    """There was no connection to ask on: nothing was sent."""


class Server:
    """One Redis, or the master that sentinels name, through a redis-py client.

    Attributes:
        in_cluster: Whether it is a node of a cluster, where a key may be on its way to another node.
    """

    in_cluster = False

    #: Its asyncio connections, see links.py.
    links: Any = None

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._direct = Direct(client)
        survive_forks(client.connection_pool)

    @property
    def client(self) -> redis.Redis:
        """The redis-py client."""
        return self._client

    def send(
        self,
        commands: Sequence[Command],
        *,
        together: bool = False,
        patience: float = 0.0,
        meanwhile: Callable[[], None] | None = None,
    ) -> list[Any]:
        """Send commands on one connection, in one round trip; a refused one has its ResponseError for a reply.

        Waits for a connection if all that the client may have are in use.

        Args:
            commands: Each as ``execute_command`` takes it.
            together: Send all commands behind a redirected one again too.
            patience: Seconds to wait for a cluster that is changing and carries none of them out.
            meanwhile: Called while Redis works on them, if there is such a moment: one that this thread would wait for.

        Raises:
            redis.RedisError, OSError: Redis did not answer; each may or may not have been carried out.
            NotAskedError: No connection was free in time.
        """
        del together, patience  # one server turns nothing away
        client = self._client
        until = time.monotonic() + PATIENCE
        pause = LOOK_FIRST
        while True:
            try:
                replies = self._direct.send(commands, meanwhile)
                if replies is None:
                    replies = _through(client, commands)
                break
            except redis.ConnectionError as exc:
                if not is_exhausted(exc):
                    raise
                if time.monotonic() >= until:
                    most = client.connection_pool.max_connections
                    raise NotAskedError(
                        f"all its {most} connections were in use for {PATIENCE:g} s; max_connections of the URL, or of "
                        "the client, allows more"
                    ) from exc
            # Looked up now: in a worker of greenlets, it is not Python's own.
            time.sleep(pause)
            pause = min(LOOK_LAST, 2 * pause)
        return [self._reply(reply) if isinstance(reply, Exception) else reply for reply in replies]

    def _reply(self, reply: Exception) -> Exception:
        """Return a reply that is an error in our terms, or raise it if Redis did not answer."""
        if isinstance(reply, UNAVAILABLE):
            raise reply
        if isinstance(reply, ResponseError):
            leave_replica(self.client, reply)
            return cluster_error(reply)
        return reply

    def awaited(self, commands: Sequence[Command]) -> "tuple[Server, Sequence[Command]]":
        """Return the server that awaited calls send commands to, and the commands as they are sent."""
        return self, commands

    def send_steps(self, commands: Sequence[Command], *, together: bool = False, patience: float = 0.0) -> Any:
        """Return the steps of a ``send`` that consists of several (see steps.py); None if it is one."""
        del commands, together, patience

    def connection(self) -> ConnectionInterface:
        """Return a connection for the caller alone, to be connected and closed by it."""
        pool = self.client.connection_pool
        connection: ConnectionInterface = pool.connection_class(**without_name(pool.connection_kwargs))
        return connection

    # --- the same methods as a Cluster's: here for one server, whatever the key

    def apart(self, name: str | None = None) -> "Server":
        """Return the same server over a pool of its own, which never waits for a connection of this one's.

        Args:
            name: Of its connections, in Redis' list of clients.
        """
        return Server(redis.Redis.from_pool(ApartPool(self.client.connection_pool, name)))

    def of(self, key: str) -> "Server":
        """Return the server of a key."""
        del key
        return self

    def known(self) -> "list[Server]":
        """Return each server that has been spoken to."""
        return [self]

    def clients(self) -> list[redis.Redis]:
        """Return a client of each server that is written to, as far as that is known now."""
        return [self.client]

    def disconnect(self) -> None:
        """Close the idle connections; others are made when they are needed."""
        self.client.connection_pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close all connections."""
        self.client.close()


def _through(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    if len(commands) == 1:
        try:
            return [client.execute_command(*commands[0])]
        except ResponseError as exc:
            return [exc]
    with client.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        replies: list[Any] = pipe.execute(raise_on_error=False)
    return replies
