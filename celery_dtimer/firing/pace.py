"""How fast a worker starts the timer's tasks: so many are fetched at a time that it does not run dry meanwhile."""

import time

#: Seconds after which the pace is looked at again, and after which a lower one counts alone.
SHORTEST, LONGEST = 0.02, 0.1


class Pace:
    """The pace of one worker. Its pool's threads count, and its listener's thread asks.

    A worker that runs dry between two claims has a pace that is too low. It rises from claim to claim all the same, as
    long as each brings more than was started since the last one.

    Attributes:
        started: Number of the timer's tasks that the pool has started; two threads may count one for two.
    """

    def __init__(self) -> None:
        self.started = 0
        self._counted = 0
        self._looked_at = time.monotonic()
        self._per_second = 0.0

    def per_second(self) -> float:
        """Return the tasks that are started in a second."""
        now, count = time.monotonic(), self.started
        elapsed = now - self._looked_at
        if elapsed >= SHORTEST:
            latest = (count - self._counted) / elapsed
            # It rises at once, or a worker that is far from Redis would run dry again and again until it has risen.
            weight = 1.0 if latest > self._per_second else min(1.0, elapsed / LONGEST)
            self._per_second += weight * (latest - self._per_second)
            self._looked_at, self._counted = now, count
        return self._per_second
