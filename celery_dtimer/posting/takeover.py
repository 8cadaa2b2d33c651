"""Which calls go to the timer although nobody posted them: dtimer_takeover, and retries of what the timer fired."""

import time
from typing import Any

from celery._state import get_current_worker_task

from celery_dtimer.extension import DeliveryInfo, Extension
from celery_dtimer.posting.producer import DELIVERY_HEADER, Posting
from celery_dtimer.posting.when import eta_of
from celery_dtimer.timer.times import delay_to_ms


def posting_for(
    extension: Extension, countdown: Any, eta: Any, task_id: str | None, task_type: Any = None
) -> Posting | None:
    """Return when a call of ``send_task`` is due, if it is the timer's to send, or None if it is the broker's.

    As for Celery, a countdown of 0 is none, and a countdown goes before an eta.
    """
    fired = _fired_task(task_id)
    if fired is not None:
        # A retry. Whatever the broker could do: its event is in the timer, and so is what comes after it. Celery makes
        # of a retry that was refused a Reject without requeue, which loses a task that was acknowledged early.
        return _posting(countdown, eta, fired.max_redeliveries, on_conflict="follow")
    if not countdown and not eta:
        return None
    threshold = extension.settings.takeover if extension.takes_over else None
    if threshold is None:
        return None
    posting = _posting(countdown, eta, getattr(task_type, "dtimer_options", {}).get("max_redeliveries"))
    wait_ms = posting.when_ms if posting.clock == "in" else posting.when_ms - time.time() * 1000
    # An instant that is over is no delay, whatever the threshold.
    return posting if wait_ms >= threshold * 1000 and wait_ms > 0 else None


def _fired_task(task_id: str | None) -> DeliveryInfo | None:
    """The delivery of the task that runs here, if that is the one of this id and the timer has fired it."""
    task = get_current_worker_task()
    if task is None or task.request.id != task_id:
        return None
    info: DeliveryInfo | None = getattr(task.request, DELIVERY_HEADER)
    return info


def _posting(countdown: Any, eta: Any, max_redeliveries: int | None, on_conflict: str = "replace") -> Posting:
    # Celery sends two messages for one id where its caller says so twice, as a retry does; the timer has one event.
    at = eta and not countdown
    return Posting(
        clock="at" if at else "in",
        when_ms=eta_of(eta) if at else delay_to_ms(countdown or 0),
        max_redeliveries=max_redeliveries,
        on_conflict=on_conflict,
    )
