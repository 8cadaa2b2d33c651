"""How long a requeued event waits before it is claimed again."""

from celery_dtimer.timer.events import Delivery

#: Milliseconds before a requeued event is claimed again: doubled each time, from the first to the last.
BACKOFF_FIRST_MS, BACKOFF_LAST_MS = 500, 60_000


def backoff_ms(delivery: Delivery) -> int:
    """Return the milliseconds before a requeued event is claimed again."""
    return int(min(BACKOFF_LAST_MS, BACKOFF_FIRST_MS * 2.0 ** min(delivery.redeliveries, 30)))
