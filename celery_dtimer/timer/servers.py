"""Where commands go: one Redis, the master that sentinels name, or, in cluster.py, the node that serves a slot."""

from collections.abc import Sequence
from typing import Any

import redis
from redis.connection import ConnectionInterface
from redis.exceptions import AskError, ClusterDownError, MovedError, ReadOnlyError, ResponseError, TryAgainError

#: What redis-py raises when it can't tell whether a command was carried out.
UNAVAILABLE = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)

#: What a node of a cluster answers to a command that is not for it to carry out, by the first word.
CLUSTER_ERRORS = {"MOVED": MovedError, "ASK": AskError, "TRYAGAIN": TryAgainError, "CLUSTERDOWN": ClusterDownError}

Command = tuple[Any, ...]


class Server:
    """One Redis, or the master that sentinels name, through a redis-py client.

    Attributes:
        in_cluster: Whether it is a node of a cluster, where a key may be on its way to another node.
    """

    in_cluster = False

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    @property
    def client(self) -> redis.Redis:
        """The redis-py client."""
        return self._client

    def send(self, commands: Sequence[Command], *, together: bool = False, patience: float = 0.0) -> list[Any]:
        """Send commands on one connection, in one round trip; one that was refused has its ResponseError for a reply.

        Args:
            commands: Each as ``execute_command`` takes it.
            together: Where some are sent again, since they were turned away, those behind them are too.
            patience: Seconds to wait for who turns them away for the moment: a cluster that is changing.

        Raises:
            redis.RedisError, OSError: Redis did not answer; each may or may not have been carried out.
        """
        del together, patience  # one server turns nothing away
        return exchange(self.client, commands)

    def connection(self) -> ConnectionInterface:
        """Return a connection for the caller alone, to be connected and closed by it."""
        pool = self.client.connection_pool
        connection: ConnectionInterface = pool.connection_class(**pool.connection_kwargs)
        return connection

    # --- the same, for all that is behind a URL: here that is one server, for whatever key

    def of(self, key: str) -> "Server":
        """Return the server of a key."""
        del key
        return self

    def clients(self) -> list[redis.Redis]:
        """Return a client of each server that is written to, as far as that is known now."""
        return [self.client]

    def disconnect(self) -> None:
        """Close what connections are idle; others are made when they are needed."""
        self.client.connection_pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close all connections."""
        self.client.close()


def exchange(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """Send commands through a client in one round trip; one that was refused has its ResponseError for a reply."""
    if len(commands) == 1:
        try:
            return [client.execute_command(*commands[0])]
        except ResponseError as exc:
            replies: list[Any] = [exc]
    else:
        with client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            replies = pipe.execute(raise_on_error=False)
    for i, reply in enumerate(replies):
        if isinstance(reply, UNAVAILABLE):
            raise reply
        if isinstance(reply, ResponseError):
            _leave_replica(client, reply)
            replies[i] = _of_cluster(reply)
    return replies


def _of_cluster(exc: ResponseError) -> ResponseError:
    """Return what a node of a cluster answered as the error that newer redis-py makes of it; 5.2 has one for all."""
    code, _, text = str(exc).partition(" ")
    kind = CLUSTER_ERRORS.get(code) if type(exc) is ResponseError else None
    return exc if kind is None else kind(text)


def _leave_replica(client: redis.Redis, exc: Exception) -> None:
    """Drop a client's idle connections if ``exc`` says that they lead to a replica: the old master, after a failover.

    The next one is made to where the URL leads now. Connections in use meet the same error, and are idle then.
    """
    # In the scripts of a Redis 6 it is a ResponseError like any other.
    if isinstance(exc, ReadOnlyError) or "READONLY" in str(exc):
        client.connection_pool.disconnect(inuse_connections=False)
