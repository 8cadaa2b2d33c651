"""The bound of the rate at which what is long overdue is claimed, for a DTimer and for an app."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from celery_dtimer.timer.checks import check_by, check_why
from celery_dtimer.timer.options import CATCH_UP_AFTER, CATCH_UP_RATE, GIVEN_AFTER, GIVEN_RATE
from celery_dtimer.timer.storing.limiting import StoredLimit, limit_value
from celery_dtimer.timer.storing.namespace import Shards
from celery_dtimer.timer.times import Delay, ms_to_datetime


@dataclass(frozen=True)
class CatchUpLimit:
    """A catch-up limit that is stored in Redis, where it overrides the listeners' own.

    Attributes:
        rate: Events a second, of all listeners together, that are claimed of what is overdue by more than ``after``;
            None: there is no limit.
        after: Seconds.
        by: Who set it.
        why: The reason that was given; empty if none was.
        since: Since when, by the server's clock.
        complete: Whether it is so in all shards. If not, a change was interrupted: make it again.
    """

    rate: float | None
    after: float
    by: str
    why: str
    since: datetime
    complete: bool = True

    @classmethod
    def of(cls, stored: StoredLimit, *, complete: bool) -> "CatchUpLimit":
        """Return it as callers see it."""
        return cls(
            rate=stored.rate / 1000 or None,
            after=stored.after_ms / 1000,
            by=stored.by,
            why=stored.why,
            since=ms_to_datetime(stored.since_ms),
            complete=complete,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return all as JSON has it: times in ISO 8601, in UTC."""
        return {**asdict(self), "since": self.since.isoformat()}


class CatchingUp:
    """The part of StoredEvents that is about what is long overdue, as after an outage."""

    shards: Shards

    def limit_catch_up(
        self, rate: float | None, *, after: Delay = CATCH_UP_AFTER.default, why: str = "", by: str | None = None
    ) -> bool:
        """Bound the rate at which all listeners together claim what is long overdue; what is due now goes first.

        Listeners obey within a second. A limit lasts in Redis, and overrides ``catch_up_rate`` of every listener.

        Args:
            rate: Events a second, 0.001 to 1,000,000; None: no bound, whatever the listeners' own says.
            after: An event is long overdue if it is overdue by more than this, 1 s to 365 days.
            why: The reason, for others who ask, up to 1,000 bytes.
            by: Who sets it, up to 255 bytes; by default user@host.

        Returns:
            False if one was stored before, which this one replaces.

        Raises:
            InvalidEventError: An argument is wrong.
        """
        value = limit_value(None if rate is None else GIVEN_RATE.check(rate), GIVEN_AFTER.check(after))
        return not any(self.shards.limit(value, check_by(by), check_why(why)))

    def forget_catch_up_limit(self) -> bool:
        """Let each listener's own ``catch_up_rate`` count again. False if no limit was stored."""
        return any(self.shards.limit("", "", ""))

    def catch_up_limit(self) -> CatchUpLimit | None:
        """Return the stored limit; None if there is none, and each listener's own counts."""
        return stored_limit(self.shards)


def stored_limit(shards: Shards) -> CatchUpLimit | None:
    """Return the limit that some shards have stored; None if there is none."""
    limits = [store.stored_limit() for store in shards]
    found = [limit for limit in limits if limit is not None]
    if not found:
        return None
    same = len(found) == len(limits) and len({(limit.rate, limit.after_ms) for limit in found}) == 1
    # The latest: a change that was interrupted is to be seen.
    return CatchUpLimit.of(max(found, key=lambda limit: limit.since_ms), complete=same)


def own_limit(rate: object, after: object) -> tuple[int, int]:
    """Return a listener's own limit as a claim has it, of the options catch_up_rate and catch_up_after.

    Raises:
        InvalidEventError: One of them is wrong.
    """
    rate_text, _, after_ms = limit_value(
        None if rate is None else CATCH_UP_RATE.check(rate), CATCH_UP_AFTER.check(after)
    ).partition(" ")
    return int(rate_text), int(after_ms)
