"""A fork leaves the child with one thread, and with locks and sockets that were the parent's."""

import os
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """An object that has to be put right in the child."""

    def forked(self) -> None:
        """Called in the child, whose only thread is the one that forked; of the parent nothing may be touched."""


_told: WeakSet[Forked] = WeakSet()


def tell_of_forks(one: Forked) -> None:
    """Let ``one`` be told in the child of each fork, as long as it lives."""
    _told.add(one)


def _tell() -> None:
    for one in list(_told):
        one.forked()


os.register_at_fork(after_in_child=_tell)
