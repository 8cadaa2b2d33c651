"""The check that Redis does not evict the timer's keys."""

import logging
from typing import Any

import redis
from redis.exceptions import RedisError

from celery_dtimer.errors import EvictionPolicyError
from celery_dtimer.timer.connecting.cluster import Cluster
from celery_dtimer.timer.connecting.server import Server
from celery_dtimer.timer.options import EvictionCheck
from celery_dtimer.timer.owners import DTIMER, Owner

logger = logging.getLogger(__name__)


def check_eviction(servers: Server | Cluster, mode: EvictionCheck, owner: Owner = DTIMER) -> None:
    """Ask the servers whether they may evict the timer's keys when they are full, and report that in ``mode``.

    A Redis that does not answer now, or may not be asked, is no reason to fail.

    Raises:
        EvictionPolicyError: It may, and the mode is ``"error"``.
    """
    if mode == "ignore":
        return
    try:
        limits = [memory_limit(client) for client in servers.clients()]
    except (RedisError, OSError, KeyError, ValueError) as exc:
        logger.info("dtimer: the timer's Redis was not asked for its eviction policy: %r", exc)
        return
    # The timer's keys have no expiry, so that a volatile policy leaves them alone.
    evicting = sorted(limit for limit in limits if limit[0] > 0 and limit[1].startswith("allkeys"))
    if not evicting:
        return
    maxmemory, policy = evicting[0]
    text = (
        f"the timer's Redis evicts keys when it is full (maxmemory-policy {policy}, maxmemory {maxmemory} bytes), and "
        "may delete the one that holds all events: set its policy to noeviction or to a volatile one, or give the "
        f"timer a Redis of its own with {owner.named('url')} ({owner.named('eviction_check')}='ignore' ends this check)"
    )
    if mode == "error":
        raise EvictionPolicyError(text, policy=policy, maxmemory=maxmemory)
    logger.warning(text, extra={"dtimer_policy": policy})


def memory_limit(client: redis.Redis) -> tuple[int, str]:
    """The maxmemory in bytes (0: none) and the policy; INFO is allowed in more places than CONFIG."""
    # redis-py's types allow for the asyncio client's answers.
    info: Any = client.info("memory")
    if "maxmemory_policy" not in info or "maxmemory" not in info:
        config: Any = client.config_get("maxmemory*")
        info = {"maxmemory": config["maxmemory"], "maxmemory_policy": config["maxmemory-policy"]}
    return int(info["maxmemory"]), str(info["maxmemory_policy"])
