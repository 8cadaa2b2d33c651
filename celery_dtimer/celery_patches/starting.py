"""The start of a task that its pool was given before it is due."""

import select
import time
from collections.abc import Callable
from typing import Any

#: Seconds by which a sleep is too long: Linux wakes a thread up to so much later, unless it is told not to, to wake it
#: together with others (PR_SET_TIMERSLACK in prctl(2)).
SLACK = 0.00005


def sleep_until(due: float) -> None:
    """Sleep until a monotonic instant, which is a millisecond or two away, or not at all if it is over."""
    # A poll of a hub counts in whole milliseconds, and would be late.
    # For the last SLACK it asks again and again, with sleeps of 0, which let other threads have the interpreter.
    # time.sleep fails under libfaketime, by which people test what their tasks do on another day.
    while (early := due - time.monotonic()) > 0:
        select.select((), (), (), max(0.0, early - SLACK))


def start_at(due: float, target: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Run a task's tracer when it is due, in a process of the pool: those of a host share the monotonic clock."""
    sleep_until(due)
    return target(*args, **options)
