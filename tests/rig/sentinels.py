"""A master, its replicas, and three sentinels that agree on who the master is: real processes all."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import redis

from rig.local_server import LocalServer
from rig.ports import HOST, free_port
from rig.processes import NodeProcess
from rig.servers import RedisServer, server_binary
from rig.waiting import wait_until

NAME = "mymaster"
SENTINELS = 3
# Sentinels ping once a second: with a second or less, one may take a master that is up for down, and fail over again.
DOWN_AFTER_MS = 2000
FAILOVER_TIMEOUT_MS = 3000
QUICK = {"socket_timeout": 2.0, "socket_connect_timeout": 2.0}


class SentinelNode:
    """One sentinel process."""

    def __init__(self, folder: Path, master_port: int, quorum: int) -> None:
        self.port = free_port()
        self._log = folder / f"sentinel-{self.port}.log"
        # It writes what it finds out into its configuration.
        conf = folder / f"sentinel-{self.port}.conf"
        conf.write_text(
            f"port {self.port}\nbind {HOST}\ndir {folder}\n"
            f"sentinel monitor {NAME} {HOST} {master_port} {quorum}\n"
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {NAME} {FAILOVER_TIMEOUT_MS}\n"
        )
        self.process = NodeProcess([str(server_binary()), str(conf), "--sentinel"], self._log, folder)

    def log(self) -> str:
        """All that it has written."""
        return self._log.read_text(errors="replace")

    def state(self) -> dict:
        """What it knows of the master; empty while it does not answer."""
        try:
            with redis.Redis(HOST, self.port, retry=None, **QUICK) as client:
                return client.sentinel_masters().get(NAME, {})
        except redis.RedisError:
            if not self.process.running:
                raise AssertionError(f"a sentinel ended:\n{self.log()}") from None
            return {}


class SentinelFleet(LocalServer):
    """Servers under the eyes of sentinels.

    Args:
        replicas: How many, beside the master.
        options: Of each server, as `RedisServer` takes them.
    """

    def __init__(self, *, replicas: int = 1, options: Mapping[str, str] | None = None) -> None:
        super().__init__()
        options = {"repl-diskless-sync-delay": "0", **(options or {})}
        self.servers = [RedisServer(options=options) for _ in range(replicas + 1)]
        self.sentinels: list[SentinelNode] = []

    @property
    def url(self) -> str:
        """The timer's URL."""
        hosts = ",".join(f"{HOST}:{node.port}" for node in self.sentinels)
        return f"sentinel://{hosts}/0?master_name={NAME}"

    @property
    def broker_url(self) -> str:
        """The same as kombu spells it; the master's name is among the transport options."""
        return ";".join(f"sentinel://{HOST}:{node.port}/0" for node in self.sentinels)

    def start(self) -> Self:
        """Start all, and wait until every sentinel knows the others and the replicas."""
        master = self.servers[0].start()
        for server in self.servers[1:]:
            server.start()
            self.follow(server, master)
        self._make_home()
        for _ in range(SENTINELS):
            self.sentinels.append(SentinelNode(self._home, master.port, SENTINELS // 2 + 1))
        self._settle(len(self.servers) - 1)
        return self

    def _settle(self, replicas: int) -> None:
        def settled() -> bool:
            states = [node.state() for node in self.sentinels]
            return all(
                state and state["num-other-sentinels"] == SENTINELS - 1 and state["num-slaves"] >= replicas
                for state in states
            )

        wait_until(settled, "the sentinels to know each other and the replicas", 30)

    @property
    def master(self) -> RedisServer:
        """The server that most sentinels take for the master."""
        ports = [state["port"] for node in self.sentinels if (state := node.state())]
        port = max(ports, key=ports.count)
        return next(server for server in self.servers if server.port == port)

    @property
    def replicas(self) -> list[RedisServer]:
        """The others that run."""
        master = self.master
        return [server for server in self.servers if server is not master and server.running]

    def wait_for_replicas(self) -> None:
        """Wait until every replica has all that the master has now."""
        with self.master.client(**QUICK) as client:
            offset = client.info("replication")["master_repl_offset"]
        for server in self.replicas:
            with server.client(**QUICK) as client:
                wait_until(
                    lambda client=client: client.info("replication")["slave_repl_offset"] >= offset,
                    "a replica to have all that the master has",
                    30,
                )

    def wait_for_failover(self, old: RedisServer) -> RedisServer:
        """Wait until every sentinel names another master than ``old``, and that one takes writes; return it."""

        def new_master() -> RedisServer | None:
            ports = {state.get("port") for node in self.sentinels if (state := node.state())}
            if len(ports) != 1 or ports == {old.port}:
                return None
            server = next(server for server in self.servers if server.port in ports)
            with server.client(**QUICK) as client:
                return server if client.info("replication")["role"] == "master" else None

        return wait_until(new_master, "another master", 60)

    def fail_over(self) -> RedisServer:
        """Kill the master and wait for the next one; return that."""
        master = self.master
        master.kill()
        return self.wait_for_failover(master)

    def switches(self) -> int:
        """How often the first sentinel saw another master: a busy machine may cause more of that than kills do."""
        return self.sentinels[0].log().count(f"+switch-master {NAME}")

    def rejoin(self, server: RedisServer) -> None:
        """Start a server that was killed as a replica of today's master."""
        master = self.master
        server.start()
        self.follow(server, master)

    @staticmethod
    def follow(server: RedisServer, master: RedisServer) -> None:
        """Make a server a replica, and wait until it has all that the master has."""

        def follows() -> bool:
            with contextlib.suppress(redis.ConnectionError), server.client(retry=None, **QUICK) as client:
                state = client.info("replication")
                if state.get("master_port") != master.port:
                    client.replicaof(HOST, master.port)
                return state.get("master_link_status") == "up" and state.get("master_port") == master.port
            # A sentinel that tells it the same closes its connections.
            return False

        wait_until(follows, "the replica to be linked", 30)

    def end(self) -> None:
        """End all, whatever their state."""
        for node in self.sentinels:
            node.process.kill()
        for server in self.servers:
            server.close()
