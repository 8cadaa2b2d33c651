"""Waiting for something to become true, in place of sleeping and hoping."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


def growing_pauses(first: float = 0.005, factor: float = 1.5, longest: float = 0.2) -> Iterator[float]:
    """Seconds to pause between looks: what is quick is seen at once, what is slow is not pestered."""
    pause = first
    while True:
        yield pause
        pause = min(pause * factor, longest)


def wait_until(predicate: Callable[[], T], description: str, timeout: float = 10.0) -> T:
    """Ask ``predicate`` until it answers something true, and hand that answer back.

    Args:
        predicate: Asked again and again; an exception that it raises ends the wait at once.
        description: What is waited for, as it should read after "waited 10 s in vain for:".
        timeout: Seconds to go on asking.

    Raises:
        AssertionError: The predicate never answered something true; the last answer is in the text.
    """
    end = time.monotonic() + timeout
    for pause in growing_pauses():
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() >= end:
            raise AssertionError(f"waited {timeout:g} s in vain for: {description} (last answer: {answer!r})")
        time.sleep(pause)
    raise AssertionError("unreachable: the pauses never end")
