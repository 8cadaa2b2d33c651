"""Keeps a listener's rounds out of the way of deliveries: the thread that fires needs the interpreter just then.

Python hands it on within 5 ms if a thread does not let it go. What rounds do can wait for a moment: events are claimed
some milliseconds before they are due.
"""

#: Seconds that a round takes when nothing is warm. None begins so shortly before a delivery.
ROUND = 0.0015

#: Seconds from when a delivery is due until a pool's process has its task.
SETTLE = 0.001

#: Most seconds for which rounds are put off, one delivery after the other.
MOST = 0.004


class Quiet:
    """The moments around deliveries, for one loop.

    Args:
        lead: Seconds between a delivery and the instant at which it is due; 0: there are no such moments, since the
            loop's own thread does all that there is to do.
    """

    def __init__(self, lead: float) -> None:
        self._lead = lead
        self._until = 0.0
        self._since: float | None = None  # rounds are put off since then

    def delivered(self, now: float) -> None:
        """Something was delivered at a monotonic instant, for which it had been held."""
        self._until = now + self._lead + SETTLE if self._lead else 0.0

    def until(self, now: float, next_delivery: float | None) -> float:
        """Return the monotonic instant before which no round is made; 0 if one may be made now."""
        until = self._until
        if self._lead and next_delivery is not None and next_delivery - now < ROUND:
            until = max(until, next_delivery)
        if until <= now:
            return 0.0
        if self._since is None:
            self._since = now
        return until if now < self._since + MOST else 0.0

    def over(self) -> None:
        """A round is made."""
        self._since = None
