"""The node of a Redis Cluster that serves a slot: commands are sent there, and after it when the slot has moved."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError

from celery_dtimer.timer.connecting.server import UNAVAILABLE, Command, NotAskedError, Server
from celery_dtimer.timer.connecting.steps import Pause, Sending, Steps, run

if TYPE_CHECKING:
    from celery_dtimer.timer.connecting.cluster import Cluster

#: Seconds after which an answer is doubted: its node may have hung, been replaced by another, and not know yet. Its
#: changes are dropped then. No failover is as quick as that.
SLOW = 0.5

#: Seconds between two attempts while the cluster is changing.
PAUSE = 0.05

#: Redirections of a command that are followed at once. Nodes that disagree would send it in circles.
MOST_MOVES = 5

#: Answers of a node that does not serve the slot, now or any more. A slot that is on its way to
#: another node is waited for, and ASK not followed: every script has several keys, and the other node, which lacks
#: some of them, would turn it away too.
TURNED_AWAY = (MovedError, AskError, TryAgainError, ClusterDownError)


class Slot(Server):
    """The node that serves a slot, whichever that is now."""

    in_cluster = True

    def __init__(self, cluster: "Cluster", slot: int) -> None:
        self._cluster = cluster
        self._slot = slot

    @property
    def client(self) -> redis.Redis:
        """A client of the node that is the slot's master as far as we know.

        Raises:
            redis.ConnectionError: None is.
        """
        return run(self._cluster.owner_steps(self._slot)).client

    def send(
        self,
        commands: Sequence[Command],
        *,
        together: bool = False,
        patience: float = 0.0,
        meanwhile: Callable[[], None] | None = None,
    ) -> list[Any]:
        """Send commands to the slot's node, see ``Server.send``; those that it turns away are sent to another."""
        del meanwhile  # an answer that comes late is doubted: nothing else may take that time
        return run(self.send_steps(commands, together=together, patience=patience))

    def send_steps(
        self, commands: Sequence[Command], *, together: bool = False, patience: float = 0.0
    ) -> Steps[list[Any]]:
        """Send commands, see ``send``."""
        give_up = time.monotonic() + patience
        replies: list[Any] = [None] * len(commands)
        left = list(range(len(commands)))
        moves = 0
        while True:
            node = yield from self._cluster.owner_steps(self._slot)
            asked = time.monotonic()
            try:
                answers = yield Sending(node, [commands[i] for i in left])
            except NotAskedError:
                raise
            except UNAVAILABLE as exc:
                self._cluster.lost(node, exc)
                raise
            slow = time.monotonic() - asked > SLOW and not all(isinstance(answer, TURNED_AWAY) for answer in answers)
            if slow and (yield from self._cluster.replaced_steps(node, self._slot)):
                raise redis.ConnectionError("another node has taken its place before it answered")
            for i, answer in zip(left, answers, strict=True):
                replies[i] = answer
            left = [i for i in left if isinstance(replies[i], TURNED_AWAY)]
            if not left:
                return replies
            if together:
                left = list(range(left[0], len(commands)))
            reason = replies[left[0]]
            # A MovedError is an AskError to redis-py.
            if isinstance(reason, MovedError) and moves < MOST_MOVES:
                moves += 1
                self._cluster.moved(reason, node)
                continue
            self._cluster.doubt()
            if time.monotonic() >= give_up:
                return replies
            yield Pause(PAUSE)

    def connection(self) -> Any:
        """Return a connection to that node, see ``Server.connection``."""
        self._cluster.doubt()
        return super().connection()
