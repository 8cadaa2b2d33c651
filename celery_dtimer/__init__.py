"""Delayed Celery tasks that are kept in Redis: never early, never lost, cancellable, beside any broker."""

from celery_dtimer.errors import (
    ChangeManyError,
    DTimerError,
    EventExistsError,
    EvictionPolicyError,
    HandlerError,
    InvalidDelayError,
    InvalidEventError,
    NotForTasksError,
    NotInstalledError,
    NotListeningError,
    NotReplicatedError,
    PayloadError,
    PayloadTooLargeError,
    PostManyError,
    SettingsError,
    TimerFullError,
    TimerUnavailableError,
    TooManyHoldsError,
)
from celery_dtimer.extension import DeliveryInfo
from celery_dtimer.posting.bulk import TaskPost
from celery_dtimer.posting.decorator import dtimer_task, timed
from celery_dtimer.posting.install import install
from celery_dtimer.posting.result import TimerResult
from celery_dtimer.posting.task import DTimerTask
from celery_dtimer.posting.task_events import ParkedTask, TaskInfo, UpcomingTask
from celery_dtimer.posting.task_timer import TaskTimer, get_timer
from celery_dtimer.timer.async_dtimer import AsyncDTimer
from celery_dtimer.timer.dtimer import DTimer
from celery_dtimer.timer.events import Answer, Counts, Delivery, EventInfo, Hold, State, Upcoming
from celery_dtimer.timer.parked import ParkedEvent, Unparked
from celery_dtimer.timer.posts import Post

try:
    from celery_dtimer._version import version
except ModuleNotFoundError:  # written by a build: a bare checkout has none
    version = "0.0.0"

__version__: str = version
del version

__all__ = (
    "Answer",
    "AsyncDTimer",
    "ChangeManyError",
    "Counts",
    "DTimer",
    "DTimerError",
    "DTimerTask",
    "Delivery",
    "DeliveryInfo",
    "EventExistsError",
    "EventInfo",
    "EvictionPolicyError",
    "HandlerError",
    "Hold",
    "InvalidDelayError",
    "InvalidEventError",
    "NotForTasksError",
    "NotInstalledError",
    "NotListeningError",
    "NotReplicatedError",
    "ParkedEvent",
    "ParkedTask",
    "PayloadError",
    "PayloadTooLargeError",
    "Post",
    "PostManyError",
    "SettingsError",
    "State",
    "TaskInfo",
    "TaskPost",
    "TaskTimer",
    "TimerFullError",
    "TimerResult",
    "TimerUnavailableError",
    "TooManyHoldsError",
    "Unparked",
    "Upcoming",
    "UpcomingTask",
    "dtimer_task",
    "get_timer",
    "install",
    "timed",
)
