"""When a task is due: what Celery takes for a countdown or an eta, in the timer's milliseconds."""

from datetime import UTC, datetime
from typing import Any

from celery.utils.time import maybe_iso8601

from celery_dtimer.errors import InvalidDelayError
from celery_dtimer.timer.times import eta_to_ms


def eta_of(eta: Any) -> int:
    """Return an eta in milliseconds since 1970.

    Celery's own rule for what a worker makes of an eta: ISO 8601 text is one too, and a naive one is in UTC
    (``Request.__init__`` calls ``maybe_make_aware``, which reads a naive instant as UTC, whatever the app's zone).

    Raises:
        InvalidDelayError: It is neither a datetime nor ISO 8601 text, or is beyond the year 9999.
    """
    try:
        instant = maybe_iso8601(eta)
    except (AttributeError, TypeError, ValueError, OverflowError) as exc:
        raise _no_instant(eta) from exc
    if not isinstance(instant, datetime):
        raise _no_instant(eta)
    return eta_to_ms(instant if instant.utcoffset() is not None else instant.replace(tzinfo=UTC))


def _no_instant(eta: Any) -> InvalidDelayError:
    return InvalidDelayError(
        f"eta is a datetime or ISO 8601 text, not {eta!r} ({type(eta).__name__})", argument="eta", value=eta
    )
