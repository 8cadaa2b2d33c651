"""Events that Celery is given before they are due, so that their tasks are in the pool's hands when they are."""

import time
from typing import Any

from celery.app.task import Task
from celery.concurrency.base import BasePool

from celery_dtimer.firing.inbox import Prepared


class Earliness:
    """Says which deliveries may go to Celery before they are due: those that the pool is known to get last of all.

    Args:
        consumer: The worker's ``celery.worker.consumer.Consumer``.
    """

    def __init__(self, consumer: Any) -> None:
        self._tasks = consumer.app.tasks
        self._all_wait = type(consumer.pool).apply_async is not BasePool.apply_async

    def must_wait(self, prepared: Prepared) -> bool:
        """Whether this is not due, and nobody but us may wait for that."""
        if prepared.due <= time.monotonic():
            return False
        headers, task = prepared.message.headers, self._tasks.get(prepared.message.headers.get("task"))
        return (
            self._all_wait
            # Delivered once: it is given back while it is in the inbox, and not later.
            or not prepared.delivery.token
            # Celery looks whether it has expired before the pool gets it.
            or headers.get("expires") is not None
            # They may run it in their own way.
            or task is None
            or task.Strategy != Task.Strategy
            or task.Request != Task.Request
        )


def wait_for(prepared: Prepared) -> None:
    """Sleep until a delivery is due."""
    _sleep_until(prepared.due)


def wait_before_start(request: Any) -> None:
    """Sleep until a request's delivery is due: its pool is to get it."""
    _sleep_until(request.message.due)


def _sleep_until(due: float) -> None:
    # For less than a millisecond (LEAD in dispatcher.py): a poll of the hub counts in whole ones, and would be late.
    while (early := due - time.monotonic()) > 0:
        time.sleep(early)
