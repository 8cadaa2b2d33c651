"""What callers give as delays and instants, turned into whole milliseconds, or refused."""

import math
import numbers
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from celery_dtimer.errors import InvalidDelayError

#: 9999-12-31T23:59:59.999Z, the last instant that ``datetime`` can say, in milliseconds since 1970.
LAST_MS = 253_402_300_799_999

#: Instants before 1970 are past all the same: what the scripts answer below 1 is no instant.
FIRST_MS = 1

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: What callers may give as a delay: seconds, or a timedelta.
Delay = float | timedelta


def delay_to_ms(delay: object) -> int:
    """Return a delay in seconds, or a timedelta, as milliseconds, rounded up; negative means now.

    Raises:
        InvalidDelayError: It is not a number or timedelta, not finite, or longer than datetimes reach.
    """
    if isinstance(delay, timedelta):
        seconds = delay.total_seconds()
    elif isinstance(delay, numbers.Real | Decimal) and not isinstance(delay, bool):
        seconds = float(delay)
    else:
        raise InvalidDelayError(
            f"delay is a number of seconds or a timedelta, not {delay!r} ({type(delay).__name__})",
            argument="delay",
            value=delay,
        )
    if not math.isfinite(seconds):
        raise InvalidDelayError(f"delay is a finite number of seconds, not {delay!r}", argument="delay", value=delay)
    if (time.time() + seconds) * 1000 > LAST_MS:
        raise InvalidDelayError(
            f"delay {delay!r} leads beyond the year 9999, the last that a datetime reaches",
            argument="delay",
            value=delay,
        )
    return math.ceil(max(0.0, seconds) * 1000)


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
