"""Events that Celery is given before they are due, so that their tasks are in the pool's hands when they are."""

import time
from typing import Any

from celery.app.task import Task
from celery.concurrency.base import BasePool

from celery_dtimer.celery_patches import pools
from celery_dtimer.celery_patches.starting import sleep_until
from celery_dtimer.firing.inbox import Prepared

#: Seconds before an event is due at which it is fired. The pool gets its task when it is due: what comes before that
#: takes half a millisecond when nothing is warm, and the thread that fires sleeps for the rest.
LEAD = 0.0008

#: The same in a pool whose own process or thread sleeps before it starts the task. It holds up one slot then, and not
#: the whole worker, so that there is time for what else the worker may be amid.
LEAD_IN_POOL = 0.002


def lead(pool: Any) -> float:
    """Return the seconds before it is due at which an event is fired in a worker with this pool."""
    return LEAD_IN_POOL if pools.may_wait_in_pool(pool) else LEAD


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
    """Sleep until a delivery is due, or for a part of that: the thread that fires has others to serve."""
    sleep_until(min(prepared.due, time.monotonic() + LEAD))


def due_of(request: Any) -> float:
    """Return the monotonic instant at which a request's delivery is due."""
    due: float = request.message.due
    return due
