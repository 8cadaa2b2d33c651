"""Log lines about Redis' failures: one when they begin, and one when they are over."""

import logging
import time
from collections.abc import Callable

from redis.exceptions import NoPermissionError

from celery_dtimer.errors import SettingsError
from celery_dtimer.timer.connecting.slot import TURNED_AWAY
from celery_dtimer.timer.connecting.url import TIMEOUT
from celery_dtimer.timer.listening.shard_round import ShardListener

logger = logging.getLogger(__name__)


class Outage:
    """The failing shards of a listener, and the log lines about them.

    Args:
        name: The listener's, as people see it.
        on_error: Called with the first error of a row.
    """

    def __init__(self, name: str, on_error: Callable[[BaseException], None]) -> None:
        self._name = name
        self._on_error = on_error
        self._failing: set[int] = set()
        self._since = 0.0  # the monotonic instant at which the first of them began to fail
        self._misset = False  # the namespace has another number of shards, and that was said

    def failed(self, number: int, shard: ShardListener, exc: Exception) -> None:
        """Let a shard wait before it is asked again, and say that it failed."""
        shard.failed()
        # A slot that moves is no failure, for as long as a post would wait for it.
        if isinstance(exc, TURNED_AWAY) and time.monotonic() < shard.failing_since + TIMEOUT:
            return
        if isinstance(exc, SettingsError):
            # Amid an outage too: it ends, and still nothing is claimed.
            if not self._misset:
                self._misset = True
                logger.error(
                    "dtimer: listener %s claims nothing: %s", self._name, exc, extra={"dtimer_listener": self._name}
                )
                self._on_error(exc)
        elif not self._failing:
            logger.error(
                "dtimer: the timer's Redis failed (%s); listener %s retries until it answers",
                exc,
                self._name,
                extra={"dtimer_listener": self._name},
            )
            self._on_error(exc)
        if not self._failing:
            self._since = shard.failing_since
        self._failing.add(number)

    @property
    def failing_for(self) -> float:
        """Seconds for which Redis has failed; 0 if it answers."""
        return time.monotonic() - self._since if self._failing else 0.0

    def deaf(self, exc: NoPermissionError, poll_interval: float) -> None:
        """Log that Redis refuses to block the listener, so that nothing can wake it."""
        logger.error(
            "dtimer: listener %s may not use BLPOP (%s); it falls back to polling every %g s, so events may be late by "
            "that much",
            self._name,
            exc,
            poll_interval,
            extra={"dtimer_listener": self._name},
        )
        self._on_error(exc)

    def defect(self, exc: Exception) -> None:
        """Log that our own code failed."""
        logger.error(
            "dtimer: listener %s failed, which is a defect; it goes on",
            self._name,
            exc_info=exc,
            extra={"dtimer_listener": self._name},
        )

    def recovered(self, number: int) -> None:
        """Log that the last failing shard answers again."""
        if number in self._failing:
            self._failing.discard(number)
            if not self._failing:
                logger.info("dtimer: the timer's Redis answers again", extra={"dtimer_listener": self._name})
