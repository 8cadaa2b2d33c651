"""Delays, spans and instants of any type, turned into whole milliseconds or seconds, or refused."""

import math
import numbers
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from celery_dtimer.errors import InvalidDelayError
from celery_dtimer.timer.shown import shown, wrong

#: 9999-12-31T23:59:59.999Z, the last instant that ``datetime`` can say, in milliseconds since 1970.
LAST_MS = 253_402_300_799_999

#: Earlier instants count as this one: the scripts answer with numbers below 1 for other things.
FIRST_MS = 1

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAIVE_EPOCH = EPOCH.replace(tzinfo=None)

#: A delay: seconds, or a timedelta.
Delay = float | timedelta


def check_one_time(delay: object, eta: object, what: str = "a post") -> None:
    """Raise InvalidDelayError if both a delay and an eta are given, or neither."""
    if (delay is None) == (eta is None):
        raise InvalidDelayError(
            f"{what} must have a delay or an eta, and not both, got delay={shown(delay)} and eta={shown(eta)}",
            argument="delay",
            value=delay,
        )


def delay_to_ms(delay: object, argument: str = "delay") -> int:
    """Return a delay in seconds, or a timedelta, as milliseconds, rounded up; negative means now.

    Args:
        delay: The caller's.
        argument: The caller's name for it.

    Raises:
        InvalidDelayError: It is not a number or timedelta, not finite, or longer than datetimes reach.
    """
    seconds = seconds_of(delay)
    if seconds is None or not math.isfinite(seconds):
        hint = f": an instant is an eta, not a {argument}" if hasattr(delay, "isoformat") else ""
        raise wrong(argument, "a finite number of seconds or a timedelta", delay, hint, InvalidDelayError)
    if seconds <= 0:
        return 0
    if (time.time() + seconds) * 1000 > LAST_MS:
        raise wrong(argument, "a delay that ends by the year 9999", delay, "", InvalidDelayError)
    if isinstance(delay, timedelta):
        # Exactly: a float of centuries has no microseconds left.
        return -(-_plain(delay) // timedelta(milliseconds=1))
    return math.ceil(seconds * 1000)


def seconds_of(span: object) -> float | None:
    """Return a number of any kind, or a timedelta, in seconds.

    A number beyond all floats counts as the largest. None: it is no span of time; True is none.
    """
    # A plain number is known by its class; to ask what else is one takes longer than all the rest.
    if type(span) is float or type(span) is int:
        return _float(span)
    if isinstance(span, timedelta):
        return _plain(span).total_seconds()
    if not isinstance(span, numbers.Real | Decimal) or isinstance(span, bool):
        return None
    number: Any = span
    # NumPy's timedelta64 is a number by its own account, in a unit that float() does not tell.
    if getattr(getattr(number, "dtype", None), "kind", None) == "m":
        return None
    return _float(number)


def _float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        # A whole number or a fraction that no float reaches; how far beyond does not matter.
        return math.copysign(sys.float_info.max, 1 if number > 0 else -1)
    except (TypeError, ValueError):
        # A signalling NaN, or a class that only claims to be a number.
        return math.nan


def _plain(span: timedelta) -> timedelta:
    """Return a timedelta of a subclass as one of ``timedelta`` itself: a subclass may have operators of its own."""
    return timedelta.__add__(span, timedelta())


def max_wait_to_ms(max_wait: object) -> int:
    """Return a debounce's bound as milliseconds.

    Raises:
        InvalidDelayError: It is no delay of more than 0.
    """
    max_wait_ms = delay_to_ms(max_wait, "max_wait")
    if not max_wait_ms:
        raise wrong("max_wait", "more than 0", max_wait, "", InvalidDelayError)
    return max_wait_ms


def eta_to_ms(eta: object, argument: str = "eta", *, naive_in_utc: bool = False) -> int:
    """Return an aware datetime as milliseconds since 1970, rounded up; 1 for earlier ones.

    Args:
        eta: The caller's.
        argument: The caller's name of it.
        naive_in_utc: Read a naive one as UTC.

    Raises:
        InvalidDelayError: It is not a datetime, or is naive.
    """
    try:
        aware = isinstance(eta, datetime) and eta.utcoffset() is not None
    except Exception as exc:
        # pandas' "not a time" is a datetime; and a time zone may be of any class.
        raise wrong(argument, "a datetime", eta, f": {exc}", InvalidDelayError) from exc
    if not isinstance(eta, datetime) or not (aware or naive_in_utc):
        hint = f": a naive one needs a time zone, such as {argument}.replace(tzinfo=UTC)"
        raise wrong(argument, "an aware datetime", eta, hint if isinstance(eta, datetime) else "", InvalidDelayError)
    # The plain operator: a subclass may have one of its own. And integer arithmetic: a float of this size has no whole
    # microseconds.
    since = datetime.__sub__(eta, EPOCH if aware else NAIVE_EPOCH)
    return max(FIRST_MS, -(-since // timedelta(milliseconds=1)))


def ms_to_datetime(instant_ms: int) -> datetime:
    """Return milliseconds since 1970 as an aware datetime in UTC, within 1970 and 9999."""
    return EPOCH + timedelta(milliseconds=max(0, min(instant_ms, LAST_MS)))
