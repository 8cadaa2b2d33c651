"""Code that exists only because of redis-py; registered, see accommodations.py."""

import asyncio
import copy
import importlib
import importlib.util
import inspect
import os
import select
import socket
import threading
from typing import Any
from weakref import WeakSet

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionInterface, ConnectionPool
from redis.exceptions import AskError, ClusterDownError, MovedError, ReadOnlyError, ResponseError, TryAgainError
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

from celery_dtimer.accommodations import accommodates
from celery_dtimer.timer.connecting.naming import with_name

#: redis-py's metrics of its own, from 7.1 on.
_OBSERVED = "redis.observability.recorder"
_observed: Any = importlib.import_module(_OBSERVED) if importlib.util.find_spec("redis.observability") else None

_pools: WeakSet[ConnectionPool] = WeakSet()


@accommodates("all", remove_when="redis-py replaces the locks of its pools in the child of a fork")
def survive_forks(pool: ConnectionPool) -> None:
    """Let a pool be used in the child of a fork, even if a thread of the parent used it at that instant.

    It notices the fork, and makes connections anew. But it takes a lock before that, and the thread that held the lock
    was not forked, to give it back.
    """
    _pools.add(pool)


def _unlock_pools() -> None:
    for pool in list(_pools):
        unlocked: Any = pool
        unlocked._lock = threading.RLock()  # noqa: SLF001 - it has no public name


os.register_at_fork(after_in_child=_unlock_pools)


@accommodates("all", remove_when="a client of redis-py's repeats no command unless it is told to", redis=4082)
def never_repeating(client: redis.Redis) -> redis.Redis:
    """Return a client of the same server that sends nothing twice.

    redis-py's default client repeats a command without an answer, ten times: a post would take its own event for
    another's, and a cancel, a confirm and a release would deny their own effect.
    """
    pool = copy.copy(client.connection_pool)
    pool.connection_kwargs = {
        **pool.connection_kwargs,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "retry_on_error": [],
    }
    pool.reset()
    return redis.Redis(connection_pool=pool)


@accommodates("all", remove_when="a BlockingConnectionPool has an error of its own for a wait in vain", redis=3237)
def is_exhausted(exc: redis.ConnectionError) -> bool:
    """Whether a pool has no connection to give, so that nothing was sent. From 6.3 on, one of the two has a class."""
    return str(exc) in ("Too many connections", "No connection available.")


@accommodates("redis before 6.0", remove_when="redis>=6.0", redis=3475)
def cluster_error(exc: ResponseError) -> ResponseError:
    """Return the answer of a node of a cluster as the error that newer redis-py makes of it; 5.2 has one for all."""
    kinds = {"MOVED": MovedError, "ASK": AskError, "TRYAGAIN": TryAgainError, "CLUSTERDOWN": ClusterDownError}
    code, _, text = str(exc).partition(" ")
    kind = kinds.get(code) if type(exc) is ResponseError else None
    return exc if kind is None else kind(text)


@accommodates("redis before 5.3", remove_when="redis>=5.3")
def taken_from(pool: Any) -> Any:
    """Return a connection of a pool: 5.2 wants the name of a command for it, which newer ones deprecate."""
    return pool.get_connection("EVALSHA") if _WANTS_NAME else pool.get_connection()


_WANTS_NAME = (
    inspect.signature(ConnectionPool.get_connection).parameters["command_name"].default is inspect.Parameter.empty
)


@accommodates("all", remove_when="redis-py measures what its connections send, and not its clients")
def is_measured() -> bool:
    """Whether redis-py's own metrics of commands are on; older ones have none."""
    return _observed is not None and bool(_observed.is_enabled())


@accommodates("all", remove_when="redis-py drops all its connections to a former master", redis=460)
def leave_replica(client: redis.Redis, exc: Exception) -> None:
    """Drop a client's idle connections if ``exc`` says that they lead to a replica: the old master, after a failover.

    The next one is made to where the URL leads now. Connections in use meet the same error, and are idle then.
    """
    if leads_to_replica(exc):
        client.connection_pool.disconnect(inuse_connections=False)


def leads_to_replica(exc: Exception) -> bool:
    """Whether an error says that its connection leads to a replica."""
    # In the scripts of a Redis 6 it is a ResponseError like any other.
    return isinstance(exc, ReadOnlyError) or "READONLY" in str(exc)


@accommodates("all", remove_when="an interrupted read closes a sentinel's connection too", redis=4292)
class ReadsToTheEnd:
    """Closes a connection whose read was interrupted, by a signal or by a soft time limit.

    redis-py does so for every connection but a sentinel's. The next command would be given this one's answer.
    """

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Read a reply."""
        options.setdefault("disconnect_on_error", True)
        return super().read_response(*args, **options)  # type: ignore[misc] # of the connection that this is mixed into


@accommodates("all", remove_when="redis-py's asyncio sentinels take a finder of the master, and read to the end")
class FindsMaster:
    """Lets an asyncio connection lead to the master that sentinels name when it connects.

    They are asked in a thread, by the same code as for the sync connections. redis-py's own asyncio connection of
    sentinels keeps one open whose read was interrupted, as its sync one does.

    Args:
        masters: Has ``get_master_address``.
    """

    host: str
    port: int

    def __init__(self, *, masters: Any, **options: Any) -> None:
        super().__init__(**options)
        self._masters = masters

    async def _connect(self) -> None:
        self.host, self.port = await asyncio.to_thread(self._masters.get_master_address)
        await super()._connect()  # type: ignore[misc] # of the connection that this is mixed into


@accommodates("all", remove_when="redis-py makes a second pool of the connections of a first")
class ApartPool(ConnectionPool):
    """Connections as another pool makes them, and none of its own."""

    def __init__(self, other: ConnectionPool, name: str | None = None) -> None:
        self._other = other
        super().__init__(connection_class=other.connection_class, **with_name(other.connection_kwargs, name))

    def owns_connection(self, connection: Any) -> bool:
        """Whether a connection may be used again: of sentinels, one to the present master."""
        master = getattr(self._other, "master_address", None)
        left = master is not None and master != (connection.host, connection.port)
        return not left and bool(super().owns_connection(connection))

    def disconnect(self, inuse_connections: bool = True) -> None:
        """Close them; where the idle ones lead to a former master, the other pool's too."""
        super().disconnect(inuse_connections)
        if not inuse_connections:
            self._other.disconnect(inuse_connections=False)


@accommodates("all", remove_when="redis-py has a public name for the socket of a connection")
def fileno(connection: ConnectionInterface | None) -> int:
    """Return the file descriptor of a connection, for a selector."""
    number: int = socket_of(connection).fileno()
    return number


@accommodates("all", remove_when="redis-py has a public name for the socket of a connection")
def socket_of(connection: Any) -> Any:
    """Return the socket of a connection; None while it has none."""
    return getattr(connection, "_sock", None)


#: Pools that are known. One in which callers wait for each other, or of another's making, does it itself.
POOLS = (ConnectionPool, SentinelConnectionPool, ApartPool)

#: Options of connections with which a pool does more when one comes back.
MORE = ("credential_provider", "event_dispatcher", "oss_cluster_maint_notifications_handler")


@accommodates("all", remove_when="a pool of redis-py's costs less than reading a reply")
class QuickPool:
    """Takes connections from a pool, and gives them back, in a tenth of the time that the pool itself needs.

    It does what the pool does with a connection that is fine. With any other, and where somebody listens to what the
    pool does, the pool does it.

    Args:
        pool: The pool. Others may use it at the same time.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._is_plain = type(pool) in POOLS and not any(pool.connection_kwargs.get(name) for name in MORE)

    def take(self) -> Any:
        """Return a connection that is ready to send.

        Raises:
            redis.RedisError, OSError: There is none, and none could be made.
        """
        pool = self._pool
        if self._is_plain and pool.pid == os.getpid():
            with pool._lock:  # noqa: SLF001 - there is no public way
                idle = pool._available_connections  # noqa: SLF001 - as above
                connection = idle.pop() if idle else None
                if connection is not None:
                    pool._in_use_connections.add(connection)  # noqa: SLF001 - as above
            if connection is not None:
                if _is_ready(connection):
                    return connection
                pool.release(connection)
        return taken_from(pool)

    def give(self, connection: Any) -> None:
        """Give one back, whatever became of it."""
        pool = self._pool
        if (
            not self._is_plain
            or pool.pid != os.getpid()
            or not pool.owns_connection(connection)
            or getattr(connection, "should_reconnect", bool)()
        ):
            pool.release(connection)
            return
        with pool._lock:  # noqa: SLF001 - as above
            if connection in pool._in_use_connections:  # noqa: SLF001 - as above
                pool._in_use_connections.remove(connection)  # noqa: SLF001 - as above
                pool._available_connections.append(connection)  # noqa: SLF001 - as above


def _is_ready(connection: Any) -> bool:
    """Whether a connection is open, and has nothing to read: neither its end nor what nobody waits for."""
    stream = socket_of(connection)
    # One of Python's own: those of greenlets and of TLS know more than the system does.
    if type(stream) is not socket.socket or type(stream).__module__ != "socket":
        return False
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    return not poll.poll(0)
