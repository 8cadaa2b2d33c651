"""Accommodations of result backends: what they do when a task is sent, without keeping an event loop waiting."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from celery._state import task_join_will_block
from celery.backends.base import Backend
from celery.backends.redis import RedisBackend
from celery.backends.rpc import RPCBackend
from kombu.common import maybe_declare

from celery_dtimer.accommodations import accommodates

#: What a backend of the user's does is done one at a time: Celery's have a copy for each thread, or a lock.
_LOCK = threading.RLock()


@accommodates("all", remove_when="Celery makes a message without telling the result backend of it")
def call_backend_later(app: Any, later: Callable[[], list[Callable[[], None]] | None]) -> None:
    """Let the app's result backend put off what it does when a task is sent.

    Args:
        app: The Celery app.
        later: Returns the list of what is put off here and now; None: nothing is.
    """
    backend = app.backend
    native = backend.on_task_call
    if getattr(native, "__func__", None) is Backend.on_task_call or hasattr(native, "puts_off"):
        return

    def on_task_call(producer: Any, task_id: str) -> Any:
        calls = later()
        if calls is None:
            return native(producer, task_id)
        if isinstance(backend, RPCBackend):
            # The queue is named after this thread, in which the result will be asked for.
            calls.append(partial(_declare, app, backend.binding))
        elif getattr(native, "__func__", None) is not RedisBackend.on_task_call:
            calls.append(partial(_one_at_a_time, native, producer, task_id))
        # Redis' would listen for the result, which get() does by itself.
        return None

    on_task_call.puts_off = True  # type: ignore[attr-defined] # a mark
    backend.on_task_call = on_task_call


def _declare(app: Any, binding: Any) -> None:
    if not task_join_will_block():
        with app.pool.acquire(block=True) as connection:
            maybe_declare(binding(connection.default_channel), retry=True)


def _one_at_a_time(native: Callable[..., Any], producer: Any, task_id: str) -> None:
    with _LOCK:
        native(producer, task_id)
