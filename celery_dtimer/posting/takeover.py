"""Which calls go to the timer although nobody posted them: dtimer_takeover, and retries of what the timer fired."""

import time
from typing import Any

from celery._state import get_current_worker_task

from celery_dtimer.extension import Extension
from celery_dtimer.posting.producer import DELIVERY_HEADER, Posting
from celery_dtimer.posting.when import eta_of
from celery_dtimer.timer.times import delay_to_ms


def posting_for(extension: Extension, countdown: Any, eta: Any, task_id: str | None) -> Posting | None:
    """Return when a call of ``send_task`` is due, if it is the timer's to send, or None if it is the broker's.

    As for Celery, a countdown of 0 is none, and a countdown goes before an eta.
    """
    if _is_retry_of_fired(task_id):
        # Whatever the broker could do: its event is in the timer, and so is what comes after it.
        return _posting(countdown, eta)
    if not countdown and not eta:
        return None
    threshold = extension.settings.takeover
    if threshold is None:
        return None
    posting = _posting(countdown, eta)
    wait_ms = posting.when_ms if posting.clock == "in" else posting.when_ms - time.time() * 1000
    # An instant that is over is no delay, whatever the threshold.
    return posting if wait_ms >= threshold * 1000 and wait_ms > 0 else None


def _is_retry_of_fired(task_id: str | None) -> bool:
    task = get_current_worker_task()
    return task is not None and task.request.id == task_id and getattr(task.request, DELIVERY_HEADER) is not None


def _posting(countdown: Any, eta: Any) -> Posting:
    # Celery sends two messages for one id where its caller says so twice, as a retry does; the timer has one event.
    if eta and not countdown:
        return Posting("at", eta_of(eta), on_conflict="replace")
    return Posting("in", delay_to_ms(countdown or 0), on_conflict="replace")
