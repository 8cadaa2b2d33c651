"""Posts that wait until replicas have their events."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from celery_dtimer.errors import NotReplicatedError
from celery_dtimer.timer.connecting.server import Command
from celery_dtimer.timer.options import WAIT_REPLICAS, WAIT_TIMEOUT


@dataclass(frozen=True)
class Replication:
    """The replicas that must have an event before its post returns, and the longest wait for them.

    Attributes:
        replicas: Their number; 0: the post does not wait.
        timeout: Seconds.
        option: The caller's name for that number.
    """

    replicas: int = WAIT_REPLICAS.default
    timeout: float = WAIT_TIMEOUT.default
    option: str = WAIT_REPLICAS.name

    def behind(self, touch: str | None) -> list[Command]:
        """Return the commands that follow a post on its connection; none if it does not wait.

        Args:
            touch: A key to be written for a millisecond, where the post itself may write nothing: WAIT waits for the
                last write of its own connection, and an event that was found there is none.
        """
        if not self.replicas:
            return []
        wait: Command = ("WAIT", self.replicas, round(self.timeout * 1000))
        return [wait] if touch is None else [("SET", touch, "", "PX", 1), wait]

    def check(self, stored: Sequence[str], replies: Sequence[Any]) -> None:
        """Compare the replies to those commands with what was asked for; ``stored`` are the ids in question.

        Raises:
            NotReplicatedError: Too few replicas have them.
        """
        cause = next((reply for reply in replies if isinstance(reply, RedisError)), None)
        count = 0 if cause else replies[-1]
        if not stored or count >= self.replicas:
            return
        named = f"event {stored[0]} is" if len(stored) == 1 else f"{len(stored)} events, {stored[0]} first, are"
        raise NotReplicatedError(
            f"{named} stored, but {count} replicas had that within {self.timeout:g} s, and {self.option} is "
            f"{self.replicas}: a failover now may lose it. To post again, use the same id"
            + (f" ({cause})" if cause else ""),
            event_ids=stored,
            wanted=self.replicas,
            replicas=count,
        ) from cause


def joined(before: NotReplicatedError | None, now: NotReplicatedError) -> NotReplicatedError:
    """One error for the events of both; the first one's text names the first of them."""
    if before is None:
        return now
    return NotReplicatedError(
        str(before),
        event_ids=(*before.event_ids, *now.event_ids),
        wanted=now.wanted,
        replicas=min(before.replicas, now.replicas),
    )
