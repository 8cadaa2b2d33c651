"""When a task is due: delays, countdowns and etas as Celery reads them, in the timer's milliseconds."""

import numbers
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from celery.utils.time import maybe_iso8601

from celery_dtimer.errors import InvalidDelayError, InvalidEventError
from celery_dtimer.timer.shown import wrong
from celery_dtimer.timer.times import delay_to_ms, eta_to_ms


def delay_of(delay: Any, argument: str = "delay") -> int:
    """Return a delay in milliseconds: seconds, or a timedelta; for Celery, True is one second.

    Raises:
        InvalidDelayError: It is not a number or timedelta, not finite, or longer than datetimes reach.
    """
    return delay_to_ms(int(delay) if isinstance(delay, bool) else delay, argument)


def eta_of(eta: Any, argument: str = "eta") -> int:
    """Return an eta in milliseconds since 1970.

    By the rule of Celery's workers: the message has the eta's ``isoformat()``, or its text, and a naive one is in UTC
    (``Request.__init__`` calls ``maybe_make_aware``, which reads a naive instant as UTC, whatever the app's zone). So a
    date means its midnight, and Arrow's instants are etas.

    Raises:
        InvalidDelayError: It is neither a datetime nor ISO 8601 text, nor has that text, or is beyond the year 9999.
    """
    instant = eta
    if not isinstance(eta, datetime):
        try:
            instant = maybe_iso8601(eta if isinstance(eta, str) else eta.isoformat())
        except (AttributeError, TypeError, ValueError, OverflowError) as exc:
            raise _not_an_instant(eta, argument) from exc
    if not isinstance(instant, datetime):
        raise _not_an_instant(eta, argument)
    return eta_to_ms(instant, argument, naive_in_utc=True)


def _not_an_instant(eta: Any, argument: str) -> InvalidEventError:
    is_span = isinstance(eta, numbers.Real | Decimal | timedelta)
    hint = f": a span from now on is a delay, not an {argument}" if is_span else ""
    return wrong(argument, "a datetime or ISO 8601 text", eta, hint, InvalidDelayError)
