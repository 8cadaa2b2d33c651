"""How far an operation on many events is, told to whoever waits for it, batch by batch.

The callback is of the calling context, so that no function between the loop and the caller has to hand it on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_TOLD: ContextVar[Callable[[int], None] | None] = ContextVar("dtimer_progress", default=None)


@contextmanager
def telling(callback: Callable[[int], None]) -> Iterator[None]:
    """Let the loops of this context tell ``callback`` after each batch how many more events they are done with."""
    token = _TOLD.set(callback)
    try:
        yield
    finally:
        _TOLD.reset(token)


def tell(count: int) -> None:
    """Say that so many more events are done with, whatever became of them."""
    callback = _TOLD.get()
    if callback is not None:
        callback(count)
