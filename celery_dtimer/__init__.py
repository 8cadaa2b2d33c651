"""Delayed Celery tasks that are kept in Redis: never early, never lost, cancellable, beside any broker."""

from celery_dtimer.errors import (
    DTimerError,
    EventExistsError,
    EvictionPolicyError,
    InvalidDelayError,
    InvalidEventError,
    NotInstalledError,
    NotReplicatedError,
    PayloadError,
    PayloadTooLargeError,
    PostManyError,
    SettingsError,
    TimerFullError,
    TimerUnavailableError,
)
from celery_dtimer.extension import DeliveryInfo
from celery_dtimer.posting.install import get_timer, install
from celery_dtimer.posting.result import TimerResult
from celery_dtimer.posting.task import DTimerTask, dtimer_task
from celery_dtimer.timer.dtimer import DTimer
from celery_dtimer.timer.events import Cancellation, Counts, Delivery, EventInfo, State, Upcoming
from celery_dtimer.timer.posts import Post

__version__ = "0.1.0"

__all__ = (
    "Cancellation",
    "Counts",
    "DTimer",
    "DTimerError",
    "DTimerTask",
    "Delivery",
    "DeliveryInfo",
    "EventExistsError",
    "EventInfo",
    "EvictionPolicyError",
    "InvalidDelayError",
    "InvalidEventError",
    "NotInstalledError",
    "NotReplicatedError",
    "PayloadError",
    "PayloadTooLargeError",
    "Post",
    "PostManyError",
    "SettingsError",
    "State",
    "TimerFullError",
    "TimerResult",
    "TimerUnavailableError",
    "Upcoming",
    "dtimer_task",
    "get_timer",
    "install",
)
