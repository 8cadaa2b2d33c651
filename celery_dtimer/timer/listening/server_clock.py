"""The server's clock as a listener sees it: a step of it must not make the leases of running tasks lapse."""

#: Seconds that the server's clock may run ahead of the expected time; more is a step.
TOLERANCE = 1.0

#: Seconds that two clocks may drift apart in a second: the fastest slew of Linux (adjtimex(2)).
DRIFT = 500e-6

#: Longest answer, in seconds, that earlier ones may make more precise: a longer one may come from another server.
PROMPT = 0.02

#: Most seconds by which they may. A clock that was set back by less than a round trip looks as if answers had become
#: faster: its events are early by this at most, and for as long as it takes to drift so far.
GAIN = 0.001


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


class Zero:
    """The instant of our monotonic clock at which the server's stood at 0, from all answers together.

    An answer says that it lies between the call and the answer, less what the server's clock showed. The part that
    this has in common with what earlier ones said, as far as the clocks may have drifted since, is smaller than each.
    If there is none, a clock was set, or one host slept, or this is another server: only the last answer counts.
    """

    def __init__(self) -> None:
        self._earliest = self._latest = self._heard_at = 0.0
        self._known = False

    def heard(self, server: float, asked: float, received: float) -> float:
        """Take a reading of the server's clock, in seconds, made between two instants of our monotonic one.

        Returns:
            The latest instant, in seconds, that zero may lie at: no event is early by it.
        """
        earliest, latest = asked - server, received - server
        if self._known and received - asked <= PROMPT:
            drift = DRIFT * (received - self._heard_at)
            common = max(earliest, self._earliest - drift), min(latest, self._latest + drift)
            if common[0] <= common[1]:
                earliest, latest = common[0], max(common[1], latest - GAIN)
        self._earliest, self._latest, self._heard_at, self._known = earliest, latest, received, True
        return latest

    def forget(self) -> None:
        """Forget all answers: the next one may come from another server."""
        self._known = False
