"""When a task is due: what Celery takes for a countdown or an eta, in the timer's milliseconds."""

from typing import Any

from celery.utils.time import maybe_iso8601, maybe_make_aware

from celery_dtimer.errors import InvalidDelayError
from celery_dtimer.timer.times import eta_to_ms


def eta_of(app: Any, eta: Any) -> int:
    """Return an eta in milliseconds since 1970.

    Celery's own rule for what a worker makes of an eta: ISO 8601 text is one too, and a naive one is in UTC
    (``Request.__init__`` calls ``maybe_make_aware`` with the app's time zone, which reads a naive instant as UTC).

    Raises:
        InvalidDelayError: It is neither a datetime nor ISO 8601 text.
    """
    try:
        return eta_to_ms(maybe_make_aware(maybe_iso8601(eta), app.conf.timezone))
    except InvalidDelayError:
        raise
    except (AttributeError, TypeError, ValueError, OverflowError) as exc:
        raise InvalidDelayError(
            f"eta is a datetime or ISO 8601 text, not {eta!r} ({type(eta).__name__})",
            argument="eta",
            value=eta,
        ) from exc
