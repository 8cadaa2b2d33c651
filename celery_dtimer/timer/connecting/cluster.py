"""Redis Cluster: from a redis+cluster:// URL to the node that serves a slot now.

redis-py's RedisCluster would send a claim again that was carried out, leaves options of the URL out without a word,
and drops the connections to all nodes when one of them moves.
"""

import random
import time
from typing import Any

import redis
from redis.connection import Connection, ConnectionPool, SSLConnection
from redis.crc import key_slot
from redis.exceptions import AuthenticationError, MovedError

from celery_dtimer.timer.connecting import hosts as urls
from celery_dtimer.timer.connecting.naming import with_name
from celery_dtimer.timer.connecting.probing import Probe
from celery_dtimer.timer.connecting.server import Server
from celery_dtimer.timer.connecting.slot import Slot
from celery_dtimer.timer.connecting.steps import Sending, Steps, run

#: Port of a node, unless the URL has one.
PORT = 6379

#: Seconds to wait for a connection to a node. A node that is cut off costs that again and again, until its replica
#: takes over, and the shards on other nodes wait for the same thread.
CONNECT_TIMEOUT = 1.0

#: Seconds for which a node that did not answer in time is left alone. Then it is asked once, for the time of one
#: connection at most: a listener has one thread for all shards, and some of them are on other nodes.
SILENCE = 5.0

SHAPE = "redis+cluster://[user:password@]host[:port][,host[:port]...]"

Address = tuple[str, int]


class Cluster:
    """The nodes of a cluster. Which of them serves a slot is asked when it is needed, and after every failure.

    Threads share it without a lock: they may ask at the same time, and an answer replaces the one before as a whole.

    Args:
        hosts: (host, port) of some of the nodes.
        connection_class: redis-py's, with or without TLS.
        options: redis-py's options of every connection.
    """

    def __init__(self, hosts: list[Address], connection_class: type[Connection], options: dict[str, Any]) -> None:
        self._hosts = hosts
        self._connection_class = connection_class
        self._options = options
        self._nodes: dict[Address, Server] = {}
        self._owners: dict[int, Address] = {}
        self._doubted = True
        self._silent: dict[Address, float] = {}  # until when nothing is sent there

    def of(self, key: str) -> Slot:
        """Return the server of a key."""
        return Slot(self, key_slot(key.encode()))

    def apart(self, name: str | None = None) -> "Cluster":
        """Return the same cluster over connections of its own, see ``Server.apart``."""
        return Cluster(self._hosts, self._connection_class, with_name(self._options, name))

    def known(self) -> list[Server]:
        """Return each node that has been spoken to."""
        return list(self._nodes.values())

    def clients(self) -> list[redis.Redis]:
        """Return a client of each master, as far as that is known now."""
        if self._doubted:
            run(self._ask_steps())
        return [self._node(address).client for address in sorted(set(self._owners.values()))]

    def disconnect(self) -> None:
        """Close the idle connections; others are made when they are needed."""
        for node in list(self._nodes.values()):
            node.disconnect()

    def close(self) -> None:
        """Close all connections."""
        for node in list(self._nodes.values()):
            node.close()

    def pool(self) -> ConnectionPool:
        """Return a pool of connections to the first host of the URL; nothing is sent."""
        return self._node(self._hosts[0]).client.connection_pool

    # --- for a Slot

    def owner_steps(self, slot: int) -> Steps[Server]:
        """Return the master that serves a slot.

        Raises:
            redis.ConnectionError: None does, or no node answers; if none lets us in, an AuthenticationError.
        """
        if self._doubted:
            yield from self._ask_steps()
        address = self._owners.get(slot)
        if address is None:
            self._doubted = True
            raise redis.ConnectionError(f"no node of the cluster serves slot {slot}")
        if (yield from self._is_silent_steps(address)):
            self._doubted = True
            raise redis.TimeoutError(f"node {address[0]}:{address[1]} is silent, and no other has taken its place")
        return self._node(address)

    def doubt(self) -> None:
        """Ask again for the owners of the slots, before the next command."""
        self._doubted = True

    def lost(self, node: Server, exc: Exception) -> None:
        """Learn that a node did not answer, and leave it alone for a while if that took long."""
        self._doubted = True
        if isinstance(exc, redis.TimeoutError):
            kwargs = node.client.connection_pool.connection_kwargs
            self._silent[kwargs["host"], kwargs["port"]] = time.monotonic() + SILENCE

    def replaced_steps(self, node: Server, slot: int) -> Steps[bool]:
        """Ask the other nodes whether one of them serves a slot by now; False if none of them answers."""
        self._doubted = True
        try:
            yield from self._ask_steps(but=node)
        except redis.ConnectionError:
            return False
        address = self._owners.get(slot)
        return address is not None and self._node(address) is not node

    def moved(self, exc: MovedError, node: Server) -> None:
        """Learn a slot's node from one that does not serve it; other slots may have moved too."""
        host = exc.host or node.client.connection_pool.connection_kwargs["host"]  # none is said: the same host
        self._owners = {**self._owners, exc.slot_id: (host, exc.port)}

    def _node(self, address: Address) -> Server:
        node = self._nodes.get(address)
        if node is None:
            host, port = address
            pool = ConnectionPool(connection_class=self._connection_class, host=host, port=port, **self._options)
            node = self._nodes.setdefault(address, Server(redis.Redis.from_pool(pool)))
        return node

    def _is_silent_steps(self, address: Address) -> Steps[bool]:
        now = time.monotonic()
        until = self._silent.get(address)
        if until is None or now < until:
            return until is not None
        # Other threads need not ask the same meanwhile.
        self._silent[address] = now + SILENCE
        host, port = address
        timeouts = {"socket_timeout": CONNECT_TIMEOUT, "socket_connect_timeout": CONNECT_TIMEOUT}
        options = {**self._options, **timeouts, "host": host, "port": port}
        options.pop("max_connections", None)  # of a pool
        if (yield Probe(self._connection_class, options)):
            self._silent.pop(address, None)
            return False
        return True

    def _ask_steps(self, but: Server | None = None) -> Steps[None]:
        known = list(set(self._owners.values()))
        # In another order each time: a node that is cut off from the others does not know.
        random.shuffle(known)
        addresses = [*known, *(host for host in self._hosts if host not in known)]
        heard: list[Exception] = []
        for address in addresses:
            if (yield from self._is_silent_steps(address)):
                heard.append(redis.TimeoutError(f"node {address[0]}:{address[1]} is silent"))
                continue
            node = self._node(address)
            if node is but:
                continue
            try:
                reply: Any = (yield Sending(node, [("CLUSTER SLOTS",)]))[0]
                if isinstance(reply, Exception):
                    raise reply
            except (redis.RedisError, OSError) as exc:
                self.lost(node, exc)
                heard.append(exc)
                continue
            self._owners = _owners(reply, address[0])
            self._doubted = False
            return
        if heard and all(isinstance(exc, AuthenticationError) for exc in heard):
            raise heard[0]
        raise redis.ConnectionError(f"no node of the cluster says who serves what: {'; '.join(map(str, heard))}")


def _owners(reply: Any, host: str) -> dict[int, Address]:
    """Read the answer to CLUSTER SLOTS: the node of each slot. A node without a name of its own is at ``host``."""
    owners: dict[int, Address] = {}
    for first, last, (name, port, *_), *_ in reply:
        known = name.decode() if name not in (None, b"", b"?") else host
        owners.update(dict.fromkeys(range(first, last + 1), (known, port)))
    return owners


def connect(url: str, *, ssl: bool, **defaults: Any) -> Cluster:
    """Return the cluster that some nodes of are named in ``url``; nothing is sent yet.

    Args:
        url: Of the form SHAPE, its query with redis-py's options.
        ssl: Whether over TLS.
        defaults: redis-py's options, where the URL has none.

    Raises:
        ValueError: The URL is none of those. The text shows no part of it but the names of options.
    """
    parts = urls.split(url, PORT, SHAPE)
    if parts.database not in ("", "0") or parts.query.get("db", "0") != "0":
        raise ValueError("a cluster has database 0 alone")
    options = {**defaults, "socket_connect_timeout": CONNECT_TIMEOUT}
    options.update(urls.options(parts.query, ssl=ssl, user=parts.user))
    return Cluster(parts.hosts, SSLConnection if ssl else Connection, options)
