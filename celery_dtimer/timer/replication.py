"""A post that waits until replicas have what it stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoScriptError, RedisError

from celery_dtimer.errors import InvalidEventError, NotReplicatedError
from celery_dtimer.timer.connect import TIMEOUT
from celery_dtimer.timer.servers import Command, Server
from celery_dtimer.timer.times import span_to_seconds

#: Seconds that a post waits for replicas, unless set otherwise.
WAIT_TIMEOUT = 1.0

#: Least and most of them. The answer has to come within the connection's own timeout.
MIN_WAIT_TIMEOUT, MAX_WAIT_TIMEOUT = 0.001, TIMEOUT - 1.0


@dataclass(frozen=True)
class Replication:
    """How many replicas have to have an event before its post returns, and how long that may take.

    Attributes:
        replicas: So many; 0: the post does not wait.
        timeout: Seconds.
    """

    replicas: int = 0
    timeout: float = WAIT_TIMEOUT

    @classmethod
    def checked(cls, replicas: object, timeout: object) -> "Replication":
        """Make one of arguments of any type; the timeout may be a timedelta.

        Raises:
            InvalidEventError: One of them is out of its range.
        """
        if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
            raise InvalidEventError(
                f"wait_replicas is 0 or more, not {replicas!r}", argument="wait_replicas", value=replicas
            )
        return cls(replicas, span_to_seconds(timeout, "wait_timeout", MIN_WAIT_TIMEOUT, MAX_WAIT_TIMEOUT))

    def send(self, server: Server, posts: Sequence[Command], touch: str | None) -> tuple[Any, int | RedisError]:
        """Send a post and a WAIT on one connection.

        Args:
            server: Where to.
            posts: The post, by its script's SHA-1 and with the script itself, for a server that does not know it.
            touch: A key to be written for a millisecond, where the post itself may write nothing: WAIT waits for the
                last write of its own connection, and an event that was found there is none.

        Returns:
            The post's reply, and how many replicas have it, or why that is not known.
        """
        behind: list[Command] = [("WAIT", self.replicas, round(self.timeout * 1000))]
        if touch is not None:
            behind.insert(0, ("SET", touch, "", "PX", 1))
        for post in posts:
            reply, *others = server.send([post, *behind], together=True, patience=TIMEOUT)
            if not isinstance(reply, NoScriptError):
                break
        if isinstance(reply, RedisError):
            raise reply
        return reply, next((other for other in others if isinstance(other, RedisError)), others[-1])

    def check(self, stored: Sequence[str], reached: int | RedisError) -> None:
        """Hold what ``send`` said of replicas against what was asked for; ``stored`` are the ids in question.

        Raises:
            NotReplicatedError: Too few have them.
        """
        cause = reached if isinstance(reached, RedisError) else None
        count = 0 if isinstance(reached, RedisError) else reached
        if not stored or count >= self.replicas:
            return
        named = f"event {stored[0]} is" if len(stored) == 1 else f"{len(stored)} events, {stored[0]} first, are"
        raise NotReplicatedError(
            f"{named} stored, but {count} replicas had that within {self.timeout:g} s, and dtimer_wait_replicas is "
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
