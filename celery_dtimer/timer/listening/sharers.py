"""The shards that share the rate of a catch-up limit, as one listener knows them."""

#: Seconds for which a shard that holds nothing back is believed not to, after it has said so: an idle listener looks
#: every 4 s at least.
BELIEVED = 10.0


class Sharers:
    """Counts them. A shard that was not heard lately counts, so that the rate is rather too low than too high.

    Args:
        shards: Number of shards.
    """

    def __init__(self, shards: int) -> None:
        self._free_until = [0.0] * shards

    def heard(self, number: int, now: float, *, shares: bool) -> None:
        """Remember what a shard says of itself at a monotonic instant."""
        self._free_until[number] = 0.0 if shares else now + BELIEVED

    def count(self, number: int, now: float) -> int:
        """Return how many there are, the shard of this number among them."""
        return sum(now >= until or number == each for each, until in enumerate(self._free_until))
