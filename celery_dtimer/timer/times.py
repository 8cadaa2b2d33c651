"""What callers give as delays, spans and instants, turned into whole milliseconds or seconds, or refused."""

import math
import numbers
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from celery_dtimer.errors import InvalidDelayError, InvalidEventError

#: 9999-12-31T23:59:59.999Z, the last instant that ``datetime`` can say, in milliseconds since 1970.
LAST_MS = 253_402_300_799_999

#: Instants before 1970 are past all the same: what the scripts answer below 1 is no instant.
FIRST_MS = 1

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: What callers may give as a delay: seconds, or a timedelta.
Delay = float | timedelta


def delay_to_ms(delay: object, argument: str = "delay") -> int:
    """Return a delay in seconds, or a timedelta, as milliseconds, rounded up; negative means now.

    Args:
        delay: What the caller gave.
        argument: What the caller calls it.

    Raises:
        InvalidDelayError: It is not a number or timedelta, not finite, or longer than datetimes reach.
    """
    if isinstance(delay, timedelta):
        seconds = delay.total_seconds()
    elif isinstance(delay, numbers.Real | Decimal) and not isinstance(delay, bool):
        seconds = _to_float(delay)
    else:
        raise InvalidDelayError(
            f"{argument} is a number of seconds or a timedelta, not {delay!r} ({type(delay).__name__})",
            argument=argument,
            value=delay,
        )
    if not math.isfinite(seconds):
        raise InvalidDelayError(
            f"{argument} is a finite number of seconds, not {delay!r}", argument=argument, value=delay
        )
    if seconds <= 0:
        return 0
    if (time.time() + seconds) * 1000 > LAST_MS:
        raise InvalidDelayError(
            f"{argument} {seconds:g} s leads beyond the year 9999, the last that a datetime reaches",
            argument=argument,
            value=delay,
        )
    if isinstance(delay, timedelta):
        # Exactly: a float of centuries has no microseconds left.
        return -(-delay // timedelta(milliseconds=1))
    return math.ceil(seconds * 1000)


def _to_float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        # A whole number or a fraction that no float reaches; how far beyond does not matter.
        return math.copysign(sys.float_info.max, 1 if number > 0 else -1)
    except ValueError:
        # A signalling NaN.
        return math.nan


def span_to_seconds(span: object, argument: str, least: float, most: float = math.inf) -> float:
    """Return a span in seconds, or a timedelta, as seconds.

    Raises:
        InvalidEventError: It is no such thing, not finite, less than ``least`` or more than ``most``.
    """
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if (
        not isinstance(seconds, int | float)
        or isinstance(seconds, bool)
        or not least <= seconds <= most
        or seconds == math.inf
    ):
        upwards = "s or more" if most == math.inf else f"to {most:g} s"
        raise InvalidEventError(f"{argument} is {least:g} {upwards}, not {span!r}", argument=argument, value=span)
    return seconds


def max_wait_to_ms(max_wait: object) -> int:
    """Return a debounce's bound as milliseconds.

    Raises:
        InvalidDelayError: It is no delay of more than 0.
    """
    max_wait_ms = delay_to_ms(max_wait, "max_wait")
    if not max_wait_ms:
        raise InvalidDelayError(f"max_wait is more than 0, not {max_wait!r}", argument="max_wait", value=max_wait)
    return max_wait_ms


def eta_to_ms(eta: object) -> int:
    """Return an aware datetime as milliseconds since 1970, rounded up; 1 for what lies before.

    Raises:
        InvalidDelayError: It is not a datetime, or is naive.
    """
    if not isinstance(eta, datetime):
        raise InvalidDelayError(f"eta is a datetime, not {eta!r} ({type(eta).__name__})", argument="eta", value=eta)
    if eta.utcoffset() is None:
        raise InvalidDelayError(
            f"eta {eta!r} is naive: give it a time zone, such as eta.replace(tzinfo=UTC)",
            argument="eta",
            value=eta,
        )
    # Integer arithmetic: a float of this size has no whole microseconds.
    microseconds = (eta - EPOCH) // timedelta(microseconds=1)
    return max(FIRST_MS, -(-microseconds // 1000))


def ms_to_datetime(instant_ms: int) -> datetime:
    """Return milliseconds since 1970 as an aware datetime in UTC; what lies beyond 9999 as its end."""
    return EPOCH + timedelta(milliseconds=min(instant_ms, LAST_MS))
