"""Ending a task that waits: in the timer, and in the result backend, so that nobody waits for its result in vain."""

import asyncio
import logging
import time
from typing import Any

from celery import states
from celery.app.task import Context
from celery.backends.base import DisabledBackend
from celery.backends.rpc import RPCBackend
from celery.exceptions import SoftTimeLimitExceeded

from celery_dtimer.celery_patches.apps import known_task
from celery_dtimer.extension import Extension
from celery_dtimer.message import StoredMessage, UnknownFormatError, decode, readable_body
from celery_dtimer.timer.connecting.steps import run_awaited
from celery_dtimer.timer.events import Answer

logger = logging.getLogger(__name__)

#: States of a task that waits, as Celery's own revoke has them. Any other is of a run of the same id.
WAITING = (states.PENDING, states.RECEIVED, states.RETRY, states.REJECTED)

#: What the TaskRevokedError of a cancelled task says.
REASON = "cancelled"

#: Seconds for which a result backend that failed is not asked again.
REST = 60.0


def cancel_task(extension: Extension, task_id: str, *, if_due_ms: int | None = None) -> Answer:
    """End a task, unless a worker has it, or it is due at another instant than ``if_due_ms``.

    Its state becomes REVOKED where it has a result backend, unless its result is ignored. What the backend raises is
    logged, and changes nothing about the answer.
    """
    answer = extension.shards.of(task_id).cancel(task_id, if_due_ms=if_due_ms)
    on_cancelled(extension, task_id, answer)
    return answer


def on_cancelled(extension: Extension, task_id: str, answer: Answer) -> None:
    """Count a task that was cancelled, and tell its result backend; do nothing if it was not."""
    if _is_told(extension, task_id, answer):
        _revoke_result(extension, task_id, answer)


async def cancel_task_awaited(extension: Extension, task_id: str, *, if_due_ms: int | None = None) -> Answer:
    """End a task, see ``cancel_task``; the result backend is told in a thread, since Celery's code waits for it."""
    answer = await run_awaited(extension.shards.of(task_id).cancel_steps(task_id, if_due_ms))
    if _is_told(extension, task_id, answer):
        await asyncio.to_thread(_revoke_result, extension, task_id, answer)
    return answer


def _is_told(extension: Extension, task_id: str, answer: Answer) -> bool:
    """Count a task that was cancelled; return whether its result backend is to be told."""
    if answer:
        extension.counters.cancelled(task_id, answer)
    return bool(answer) and time.monotonic() >= extension.backend_rests_until


def _revoke_result(extension: Extension, task_id: str, answer: Answer) -> None:
    try:
        stored = decode(answer.payload or b"", task_id, answer.queue or "")
    except UnknownFormatError:
        return
    try:
        app, name = extension.app, stored.headers.get("task")
        task = known_task(app, name) if isinstance(name, str) else None
        backend = app.backend if task is None else task.backend
        if isinstance(backend, DisabledBackend) or _is_ignored(task, stored):
            return
        # An rpc:// result is a message to whoever waits: there is no state to be read.
        if isinstance(backend, RPCBackend) or backend.get_state(task_id) in WAITING:
            backend.mark_as_revoked(task_id, REASON, request=_request(task_id, stored))
        extension.backend_rests_until = 0.0
    except SoftTimeLimitExceeded:
        raise
    except Exception as exc:  # noqa: BLE001 - whatever a backend raises: the task is cancelled
        if not extension.backend_rests_until:
            logger.warning(
                "dtimer: the result backend failed (%s: %s); tasks are cancelled, but get() on them waits in vain",
                type(exc).__name__,
                exc,
                extra={"dtimer_event": task_id},
            )
        extension.backend_rests_until = time.monotonic() + REST


def _is_ignored(task: Any, stored: StoredMessage) -> bool:
    if task is not None and task.store_errors_even_if_ignored:
        return False
    return bool(stored.headers.get("ignore_result") or (task is not None and task.ignore_result))


def _request(task_id: str, stored: StoredMessage) -> Any:
    """Return what a backend asks of a request: its headers, as in a worker, its chord, and where its result is sent.

    Backends of others look at headers that Celery's own do not: the text of the arguments, a periodic task's name.
    """
    return Context(
        stored.headers,
        id=task_id,
        chord=_chord_of(stored) if stored.headers.get("group") else None,
        reply_to=stored.properties.get("reply_to"),
        correlation_id=stored.properties.get("correlation_id"),
        delivery_info={"exchange": stored.exchange, "routing_key": stored.routing_key},
    )


def _chord_of(stored: StoredMessage) -> Any:
    """Return the chord that a task is a member of; none if its arguments are pickled."""
    try:
        return readable_body(stored)[2].get("chord")
    except Exception:  # noqa: BLE001 - whatever a decoder raises
        return None
