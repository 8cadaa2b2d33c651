"""Calls of ours where an error would end the worker."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


def guarded(call: Callable[P, R], otherwise: R) -> Callable[P, R]:
    """Return a call that never raises, for places where an error would end the worker: its event loop, above all.

    A defect of ours is logged once, and firing goes on.

    Args:
        call: The function.
        otherwise: The return value if it raises.
    """
    told: set[type[Exception]] = set()

    @wraps(call)
    def safely(*args: P.args, **options: P.kwargs) -> R:
        try:
            return call(*args, **options)
        except Exception as exc:
            # The next one of its kind would fill the log: these are called for every task.
            if type(exc) not in told:
                told.add(type(exc))
                logger.exception(
                    "dtimer: %s failed, which is a defect; firing goes on",
                    call.__qualname__,
                    extra={"dtimer_defect": call.__qualname__},
                )
            return otherwise

    return safely
