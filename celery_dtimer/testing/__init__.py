"""For the tests that users write: virtual time for the timer of an app. pytest's plugin is _celery_dtimer_pytest.py."""

from celery_dtimer.testing.tasks import FiredTask, PendingTask
from celery_dtimer.testing.timer import VirtualTimer
from celery_dtimer.testing.virtual import virtual_timer

__all__ = ("FiredTask", "PendingTask", "VirtualTimer", "virtual_timer")
