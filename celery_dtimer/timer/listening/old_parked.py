"""The end of what has been parked for longer than ``dtimer_parked_ttl``, in one shard."""

import logging
from collections.abc import Sequence

from celery_dtimer.timer.listening.config import ListenerConfig
from celery_dtimer.timer.storing.parking import MOST_DROPPED
from celery_dtimer.timer.storing.scripts import Call
from celery_dtimer.timer.storing.shard import Store

logger = logging.getLogger(__name__)

#: Seconds between two looks of a listener; and while there is more than one call drops.
LOOK_INTERVAL, NEXT_INTERVAL = 30.0, 1.0

#: Seconds after which a count is logged, if there is no end of it.
LOG_INTERVAL = 60.0


class OldParked:
    """Drops what is parked for too long, if the listener is told how long that is. For the loop's thread alone.

    Its call travels with a claim that is made anyway, and so costs no round trip: once in LOOK_INTERVAL, however busy
    the listener is, and a look that finds nothing reads one member of a sorted set. Each listener with the setting
    looks: they do not agree on who does, since any of them may end, or have the setting taken from it.

    Args:
        store: The shard.
        config: See ListenerConfig.
    """

    def __init__(self, store: Store, config: ListenerConfig) -> None:
        self._store = store
        self._config = config
        self._look_at = 0.0
        self._count = 0
        self._log_at = 0.0

    def calls(self, now: float, *, claims: bool) -> list[Call]:
        """Return the call for a round at this monotonic instant: none unless it claims, and it is time for one."""
        ttl = self._config.parked_ttl
        if ttl is None or not claims or now < self._look_at:
            return []
        # Also if it fails: the round is repeated soon, and the claim must not wait for this.
        self._look_at = now + LOOK_INTERVAL
        return [self._store.drop_old(round(ttl * 1000))]

    def answered(self, replies: Sequence[object], now: float) -> None:
        """Take the replies to ``calls``: of each, the queues of what was dropped; or an error, which is the round's."""
        for reply in replies:
            if isinstance(reply, list):
                self._dropped(reply, now)

    def _dropped(self, reply: list[bytes], now: float) -> None:
        queues: Sequence[str] = [queue.decode(errors="replace") for queue in reply]
        if queues:
            self._config.on_dropped(queues)
            self._log_at = self._log_at if self._count else now + LOG_INTERVAL
            self._count += len(queues)
        if len(queues) == MOST_DROPPED:
            self._look_at = now + NEXT_INTERVAL
        if self._count and (len(queues) < MOST_DROPPED or now >= self._log_at):
            ttl = self._config.parked_ttl
            logger.info(
                "dtimer: %d events were parked for longer than %g s (dtimer_parked_ttl); they are dropped",
                self._count,
                ttl,
                extra={"dtimer_dropped": self._count, "dtimer_listener": self._config.name},
            )
            self._count = 0
