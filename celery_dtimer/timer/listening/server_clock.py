"""The server's clock as a listener sees it: a step of it must not make the leases of running tasks lapse."""

#: Seconds that the server's clock may run ahead of the expected time; more is a step.
TOLERANCE = 1.0


class ServerClock:
    """The server's clock as one listener knows it: a step forward counts for leases only after some time.

    Args:
        patience: Seconds that leases are given to be renewed by the new clock: as long as they last.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._ahead: float | None = None  # seconds that the server's clock is ahead of our monotonic one, at most
        self._stepped_at: float | None = None

    def lapsed_ms(self, now: float, shyness: float = 0.0) -> int | None:
        """Return until when leases count as lapsed, in milliseconds; None before anything was heard.

        Args:
            now: Our monotonic clock, in seconds.
            shyness: Seconds for which lapsed and released events are left to others first.
        """
        if self._ahead is None:
            return None
        return int((now + self._ahead + (-shyness if shyness else TOLERANCE)) * 1000)

    @property
    def ahead(self) -> float | None:
        """Seconds that the server's clock is ahead of our monotonic one; None before anything was heard."""
        return self._ahead

    def heard(self, server: float, asked: float, received: float) -> None:
        """Take a reading of the server's clock, in seconds, made between two instants of our monotonic one."""
        if self._ahead is not None and server - received > self._ahead + TOLERANCE:
            if self._stepped_at is None:
                self._stepped_at = received
            if received - self._stepped_at < self._patience:
                return
        self._ahead = server - asked
        self._stepped_at = None
