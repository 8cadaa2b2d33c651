"""The doctor's checks of the timer's Redis."""

import time
from collections.abc import Iterator
from typing import Any

from celery_dtimer.operating.doctor_kinds import Found, Subject
from celery_dtimer.timer.connecting.cluster import Cluster
from celery_dtimer.timer.connecting.eviction import memory_limit

OLDEST = (6, 2)

#: Share of maxmemory from which on a server counts as nearly full.
FULL = 0.9

#: Seconds that a replica, and a clock, may be behind.
REPLICA_LAG, CLOCK_OFFSET = 10, 1.0


def _infos(subject: Subject, section: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Each server's client, and a section of what it says of itself."""
    for client in subject.extension.shards.masters():
        info: Any = client.info(section)
        yield client, info


def server_version(subject: Subject) -> Iterator[Found]:
    """Whether it has the commands that the scripts use."""
    for _, info in _infos(subject, "server"):
        version = str(info["redis_version"])
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
            yield "server-too-old", f"the server's version is {version}"


def server_mode(subject: Subject) -> Iterator[Found]:
    """Whether the URL fits it."""
    if isinstance(subject.extension.shards.servers, Cluster):
        return
    for _, info in _infos(subject, "cluster"):
        if info["cluster_enabled"]:
            yield "cluster-behind-plain-url", "the server is a node of a cluster"


def memory(subject: Subject) -> Iterator[Found]:
    """Whether it may delete events, or soon refuses posts."""
    for client, info in _infos(subject, "memory"):
        maxmemory, policy = memory_limit(client)
        if maxmemory and policy.startswith("allkeys"):
            yield "evicts-keys", f"maxmemory-policy is {policy}, maxmemory {maxmemory} bytes"
        if maxmemory and info["used_memory"] > FULL * maxmemory:
            yield "nearly-full", f"{info['used_memory']} of {maxmemory} bytes are used"


def last_save(subject: Subject) -> Iterator[Found]:
    """Whether what it saves arrives on its disk."""
    for _, info in _infos(subject, "persistence"):
        for field in ("rdb_last_bgsave_status", "aof_last_bgrewrite_status", "aof_last_write_status"):
            if info.get(field, "ok") != "ok":
                yield "save-failed", f"{field} is {info[field]}"


def persistence(subject: Subject) -> Iterator[Found]:
    """Whether a restart loses everything."""
    for client, info in _infos(subject, "persistence"):
        if not info["aof_enabled"] and not client.config_get("save")["save"]:
            yield "no-persistence", "neither appendonly nor save is set"


def replicas(subject: Subject) -> Iterator[Found]:
    """Whether they are there and up to date."""
    wanted = subject.extension.settings.wait_replicas
    for _, info in _infos(subject, "replication"):
        count = info["connected_slaves"]
        for number in range(count):
            replica = info[f"slave{number}"]
            if replica["state"] != "online" or int(replica.get("lag", 0)) > REPLICA_LAG:
                lag = replica.get("lag")
                yield "replica-lag", f"replica {replica['ip']}:{replica['port']}: {replica['state']}, lag {lag} s"
        if count < wanted:
            yield "too-few-replicas", f"{count} replicas are connected, dtimer_wait_replicas is {wanted}"


def clocks(subject: Subject) -> Iterator[Found]:
    """Whether this host's clock, and those of the workers, agree with the server's."""
    for client in subject.extension.shards.masters():
        before = time.time()
        seconds, micros = client.time()
        after = time.time()
        server = seconds + micros / 1e6
        # It was read at some instant between the two.
        offset = max(before - server, 0.0) + min(after - server, 0.0)
        if abs(offset) > CLOCK_OFFSET:
            yield "clock-offset", f"this host's clock is {offset:+.1f} s off Redis'"
    for name, report in (subject.reports or {}).items():
        offset = report.get("redis", {}).get("clock_offset")
        if offset is not None and abs(offset) > CLOCK_OFFSET:
            yield "clock-offset", f"the clock of {name} is {offset:+.1f} s off Redis'"


CHECKS = (server_version, server_mode, memory, last_save, persistence, replicas, clocks)
