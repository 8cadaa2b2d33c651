"""What is long overdue, and the limit to the rate at which it is claimed."""

from dataclasses import dataclass

from celery_dtimer.extension import Extension
from celery_dtimer.timer.catching_up import CatchUpLimit, stored_limit


@dataclass(frozen=True)
class LimitInForce:
    """The limit that counts now.

    Attributes:
        rate: Events a second; None: as fast as the workers can.
        after: Overdue by more seconds is long overdue.
        stored: The stored limit, if there is one; else the app's settings count.
    """

    rate: float | None
    after: float
    stored: CatchUpLimit | None


@dataclass(frozen=True)
class Backlog:
    """What is long overdue.

    Attributes:
        limit: The limit that counts now.
        overdue: Events that are long overdue, those that are held included.
    """

    limit: LimitInForce
    overdue: int

    @property
    def seconds(self) -> float | None:
        """Seconds that these take, or more if new events take the workers; None without a limit."""
        return None if self.limit.rate is None else self.overdue / self.limit.rate


def limit_in_force(extension: Extension) -> LimitInForce:
    """Read the limit: one call a shard, two if it is stored.

    Raises:
        TimerUnavailableError: Redis did not answer.
    """
    settings, stored = extension.settings, stored_limit(extension.shards)
    if stored is None:
        return LimitInForce(settings.catch_up_rate, settings.catch_up_after, None)
    return LimitInForce(stored.rate, stored.after, stored)


def read_backlog(extension: Extension) -> Backlog:
    """Read the limit, and count what is long overdue.

    Raises:
        TimerUnavailableError: Redis did not answer.
    """
    limit = limit_in_force(extension)
    return Backlog(limit, extension.shards.count(duration_ms=-round(limit.after * 1000)).pending)
