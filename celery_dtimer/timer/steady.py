"""A step of the server's clock must not make every lease lapse at once, while what they are for still runs."""

#: Seconds that the server's clock may run ahead of what was expected; more is a step.
TOLERANCE = 1.0


class SteadyClock:
    """The server's clock as one listener knows it: a step forward counts for leases only after some time.

    Args:
        patience: Seconds that leases are given to be renewed by the new clock: as long as they last.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._ahead: float | None = None  # seconds that the server's clock is ahead of our monotonic one, at most
        self._stepped_at: float | None = None

    def lapsed_ms(self, now: float) -> int | None:
        """Return until when leases count as lapsed, in milliseconds; None before anything was heard.

        Args:
            now: Our monotonic clock, in seconds.
        """
        return None if self._ahead is None else int((now + self._ahead + TOLERANCE) * 1000)

    def heard(self, server: float, asked: float, received: float) -> None:
        """Learn what the server's clock said, in seconds, between two instants of our monotonic one."""
        if self._ahead is not None and server - received > self._ahead + TOLERANCE:
            if self._stepped_at is None:
                self._stepped_at = received
            if received - self._stepped_at < self._patience:
                return
        self._ahead = server - asked
        self._stepped_at = None
