"""A Redis Cluster on this machine: masters and their replicas, failovers by SIGKILL, and slots that move."""

import contextlib
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import psutil
import redis
from redis.crc import key_slot

from rig.ports import HOST, free_port
from rig.servers import RedisServer
from rig.waiting import wait_until

SLOTS = 16_384
# Long enough that a busy machine does not take a node that is well for dead, and a failover still takes 2 to 4 s.
NODE_TIMEOUT_MS = 1500
QUICK = {"socket_timeout": 2.0, "socket_connect_timeout": 2.0, "retry": None}

# What a node says of the slots: (first, last, port of the master, ports of the replicas) of each range.
View = frozenset[tuple[int, int, int, frozenset[int]]]


class ClusterFleet:
    """Masters, each with replicas of its own. Use it as a context manager. Needs Redis 7 or Valkey.

    Args:
        masters: How many; the slots are dealt out evenly, in their order.
        replicas: How many each master has.
        options: Of each server, as `RedisServer` takes them.
    """

    def __init__(self, masters: int = 3, *, replicas: int = 1, options: Mapping[str, str] | None = None) -> None:
        self._masters = masters
        self.servers = [RedisServer(options={**_options(), **(options or {})}) for _ in range(masters * (replicas + 1))]

    @property
    def url(self) -> str:
        """The timer's URL: all nodes, since any of them may be dead when it is used."""
        return f"redis+cluster://{','.join(f'{HOST}:{server.port}' for server in self.servers)}"

    def start(self) -> Self:
        """Start all, make them one cluster, and wait until every node knows it."""
        for server in self.servers:
            server.start()
        masters, others = self.servers[: self._masters], self.servers[self._masters :]
        for number, server in enumerate(masters):
            # Each has an epoch of its own: of two claims to a slot, the later one counts.
            ask(server, "SET-CONFIG-EPOCH", number + 1)
            first, last = (SLOTS * n // self._masters for n in (number, number + 1))
            ask(server, "ADDSLOTSRANGE", first, last - 1)
        for server in self.servers[1:]:
            ask(server, "MEET", HOST, self.servers[0].port, _bus_port(self.servers[0]))
        for server in self.servers:
            wait_until(lambda server=server: _known(server) == len(self.servers), "the nodes to know each other", 30)
        for number, server in enumerate(others):
            ask(server, "REPLICATE", _id(masters[number % self._masters]))
        self.settle()
        return self

    def settle(self) -> None:
        """Wait until all run, agree, have every slot, and each replica has what its master has."""
        wait_until(self._settled, "the nodes to agree", 60)

    def _settled(self) -> bool:
        try:
            return self._agree()
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    def _agree(self) -> bool:
        views = {view_of(server) for server in self.servers}
        if len(views) != 1:
            return False
        [view] = views
        ports = {port for _, _, master, replicas in view for port in (master, *replicas)}
        return (
            sum(last - first + 1 for first, last, _, _ in view) == SLOTS
            and ports == {server.port for server in self.servers}
            and all(ask(server, "INFO")["cluster_state"] == "ok" for server in self.servers)
            and all(_follows(server) for server in self.servers)
        )

    # --- who is what

    def master_of(self, key: str | bytes) -> RedisServer:
        """The server that most nodes take for the master of the key's slot."""
        return self._owner(slot_of(key))

    def replica_of(self, key: str) -> RedisServer:
        """A replica of that master."""
        slot = slot_of(key)
        [ports] = [replicas for first, last, _, replicas in view_of(self._owner(slot)) if first <= slot <= last]
        return self._server(min(ports))

    def masters(self) -> list[RedisServer]:
        """The masters of all slots, as the first node that answers has it."""
        return [self._server(port) for port in sorted({master for _, _, master, _ in self._views()[0]})]

    def _owner(self, slot: int) -> RedisServer:
        ports = Counter(_masters_of(slot, self._views()))
        return self._server(ports.most_common(1)[0][0])

    def _server(self, port: int) -> RedisServer:
        return next(server for server in self.servers if server.port == port)

    def _views(self, *, but: RedisServer | None = None) -> list[View]:
        """What those say that answer; one that is stopped is not asked."""
        views = []
        for server in self.servers:
            if server is but or not server.running or psutil.Process(server.pid).status() == psutil.STATUS_STOPPED:
                continue
            with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
                views.append(view_of(server))
        return views

    def wait_for_replicas(self) -> None:
        """Wait until every replica has all that its master has now."""
        for server in self.servers:
            with server.client(**QUICK) as client:
                if client.info("replication")["role"] == "slave":
                    with self._server(client.info("replication")["master_port"]).client(**QUICK) as master:
                        offset = master.info("replication")["master_repl_offset"]
                    wait_until(
                        lambda client=client, offset=offset: client.info("replication")["slave_repl_offset"] >= offset,
                        "a replica to have all that its master has",
                        30,
                    )

    # --- failovers

    def fail_over(self, key: str) -> RedisServer:
        """Kill the master of the key's slot, wait for the next one, and return that."""
        old = self.master_of(key)
        old.kill()
        return self.wait_for_failover(key, old)

    def wait_for_failover(self, key: str, old: RedisServer) -> RedisServer:
        """Wait until all that answer name another master than ``old`` for the key's slot; return it."""
        slot = slot_of(key)

        def new_master() -> RedisServer | None:
            ports = set(_masters_of(slot, self._views(but=old)))
            return self._server(ports.pop()) if len(ports) == 1 and old.port not in ports else None

        return wait_until(new_master, "another master of the slot", 60)

    def heal(self) -> None:
        """Start what was killed, as replicas of today's masters. Not before these were found: it would be empty."""
        for server in self.servers:
            if not server.running:
                server.start()
                continue
            with server.client(**QUICK) as client:
                client.config_set("masteruser", "")
        self.settle()

    def cut_off(self, key: str) -> None:
        """Break the link from the master of the key's slot to its replica until ``heal``; that keeps what it has."""
        with self.replica_of(key).client(**QUICK) as client:
            # A master lets no such user in.
            client.config_set("masterauth", "nothing")
            client.config_set("masteruser", "nobody")
            client.execute_command("CLIENT KILL TYPE MASTER")

    # --- slots that move

    def begin_migration(self, slot: int, to: RedisServer) -> None:
        """Open the slot at both ends: from now on keys move, and the old master sends clients after them."""
        source = self._owner(slot)
        ask(to, "SETSLOT", slot, "IMPORTING", _id(source))
        ask(source, "SETSLOT", slot, "MIGRATING", _id(to))

    def move_key(self, key: str | bytes, to: RedisServer) -> None:
        """Move one key of a slot that is open."""
        with self.master_of(key).client(**QUICK) as client:
            client.execute_command("MIGRATE", HOST, to.port, key, 0, 5000)

    def move_keys(self, slot: int, to: RedisServer) -> None:
        """Move all that the slot has still, one key after the other, as they come."""
        source = self._owner(slot)
        while keys := ask(source, "GETKEYSINSLOT", slot, 1):
            self.move_key(keys[0], to)

    def end_migration(self, slot: int, to: RedisServer) -> None:
        """Give the slot to its new master, there first, and wait until all nodes know."""
        for server in (to, *(server for server in self.masters() if server is not to)):
            ask(server, "SETSLOT", slot, "NODE", _id(to))
        self._wait_for_owner(slot, to)

    def migrate(self, slot: int, to: RedisServer) -> None:
        """Move a slot key by key, as redis-cli does it."""
        self.begin_migration(slot, to)
        self.move_keys(slot, to)
        self.end_migration(slot, to)

    def migrate_at_once(self, slot: int, to: RedisServer) -> None:
        """Move a slot as Valkey does it from 9 on: the new master follows the old one until it takes over."""
        source = self._owner(slot)
        ask(source, "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", _id(to))
        self._wait_for_owner(slot, to)

    def _wait_for_owner(self, slot: int, owner: RedisServer) -> None:
        def known() -> bool:
            return set(_masters_of(slot, self._views())) == {owner.port}

        wait_until(known, f"all nodes to know the new master of slot {slot}", 30)

    def close(self) -> None:
        """End all, whatever their state."""
        for server in self.servers:
            if server.running:
                server.kill()
            server.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _options() -> dict[str, str]:
    return {
        "cluster-enabled": "yes",
        "cluster-announce-ip": HOST,
        # By default 10,000 above the port, where somebody else's may be.
        "cluster-port": str(free_port()),
        "cluster-node-timeout": str(NODE_TIMEOUT_MS),
        "cluster-replica-validity-factor": "0",
        "cluster-allow-replica-migration": "no",
        "cluster-require-full-coverage": "no",
        "repl-diskless-sync-delay": "0",
    }


def slot_of(key: str | bytes) -> int:
    """The slot of a key."""
    return key_slot(key.encode() if isinstance(key, str) else key)


def _masters_of(slot: int, views: list[View]) -> list[int]:
    """The port of the slot's master in each view that has one."""
    return [master for view in views for first, last, master, _ in view if first <= slot <= last]


def ask(server: RedisServer, command: str, *arguments: object) -> Any:
    """The node's answer to ``CLUSTER <command>``."""
    with server.client(**QUICK) as client:
        return client.execute_command(f"CLUSTER {command}", *arguments)


def view_of(server: RedisServer) -> View:
    """What a node says of the slots; a failover that is under way empties nothing."""
    with server.client(**QUICK, protocol=2) as client:
        client.set_response_callback("CLUSTER SLOTS", lambda reply, **_: reply)
        return frozenset(
            (first, last, master[1], frozenset(replica[1] for replica in replicas))
            for first, last, master, *replicas in client.execute_command("CLUSTER SLOTS")
        )


def _id(server: RedisServer) -> str:
    return ask(server, "MYID").decode()


def _known(server: RedisServer) -> int:
    return int(ask(server, "INFO")["cluster_known_nodes"])


def _bus_port(server: RedisServer) -> int:
    with server.client(**QUICK) as client:
        return int(client.config_get("cluster-port")["cluster-port"])


def _follows(server: RedisServer) -> bool:
    """Whether it is a master, or a replica that has what its master had when it asked."""
    with server.client(**QUICK) as client:
        return client.info("replication").get("master_link_status", "up") == "up"
