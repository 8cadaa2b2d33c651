"""A task's TaskResult, from what Celery's result backend has of it.

A message carries a stamp with what Django knows of a task and Celery does not. Celery copies stamps into what it stores
of a task, in each state, with ``result_extended``.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from celery import states
from django.utils.dateparse import parse_datetime
from django.utils.module_loading import import_string

from celery_dtimer.django.task_api import Task, TaskError, TaskResult, TaskResultDoesNotExist, TaskResultStatus
from celery_dtimer.message import decode, readable_body
from celery_dtimer.timer.events import EventInfo

#: The name of the stamp.
STAMP = "django_task"

#: What Celery's states are for Django. PENDING is stored when a task is enqueued.
STATUSES = {
    states.STARTED: TaskResultStatus.RUNNING,
    states.SUCCESS: TaskResultStatus.SUCCESSFUL,
    states.FAILURE: TaskResultStatus.FAILED,
    states.REVOKED: TaskResultStatus.FAILED,
}


def stamp_of(result: TaskResult) -> dict[str, Any]:
    """Return the stamp of a task that is enqueued or has started; it is fit for JSON."""
    task = result.task
    return {
        "backend": result.backend,
        "priority": task.priority,
        "queue_name": task.queue_name,
        "run_after": _text(task.run_after),
        "enqueued_at": _text(result.enqueued_at),
        "started_at": _text(result.started_at),
    }


def instant_of(text: Any) -> datetime | None:
    """Return an instant that was stored as text, or by some backends as a datetime; one without a zone is in UTC."""
    instant: datetime | None = parse_datetime(text) if isinstance(text, str) else text
    return instant if instant is None or instant.tzinfo else instant.replace(tzinfo=UTC)


def meta_of(info: EventInfo) -> dict[str, Any]:
    """Return what a result backend would have of a task that waits in the timer; its record there may have expired.

    Raises:
        TaskResultDoesNotExist: Its message can't be read.
    """
    try:
        stored = decode(info.payload or b"", info.id, info.queue or "")
        args, kwargs, _ = readable_body(stored)
    except Exception as exc:  # whatever a decoder raises
        raise TaskResultDoesNotExist(info.id) from exc
    stamp = stored.headers.get("stamps", {}).get(STAMP)
    return {"status": states.PENDING, "name": stored.headers.get("task"), STAMP: stamp, "args": args, "kwargs": kwargs}


def task_of(path: Any, stamp: Mapping[str, Any]) -> Task:
    """Return the task of a path, as it was enqueued.

    Args:
        path: The function's.
        stamp: That of the message; empty if it was not enqueued by Django.

    Raises:
        TaskResultDoesNotExist: There is none.
    """
    try:
        task = import_string(path)
    except (ImportError, AttributeError, TypeError):
        task = None
    if not isinstance(task, Task):
        raise TaskResultDoesNotExist(f"{path} is no task of Django's")
    if not stamp:
        return task  # called as a task of Celery's
    return task.using(
        priority=stamp["priority"],
        queue_name=stamp["queue_name"],
        run_after=instant_of(stamp["run_after"]),
        backend=stamp["backend"],
    )


def result_of(result_id: str, meta: Mapping[str, Any]) -> TaskResult:
    """Return the TaskResult of what Celery stored of a task.

    Args:
        result_id: The task's id.
        meta: What its result backend has.

    Raises:
        TaskResultDoesNotExist: It is no task of Django's, or nothing is known of it any more.
    """
    stamp, path = meta.get(STAMP), meta.get("name")
    if isinstance(stamp, list):
        stamp = stamp[0]  # a signature's stamps are lists
    if not isinstance(stamp, Mapping) or path is None:
        raise TaskResultDoesNotExist(result_id)
    status = STATUSES.get(meta["status"], TaskResultStatus.READY)
    started_at = instant_of(stamp["started_at"])
    result = TaskResult(
        task=task_of(path, stamp),
        id=result_id,
        status=status,
        enqueued_at=instant_of(stamp["enqueued_at"]),
        started_at=started_at,
        last_attempted_at=started_at,
        finished_at=instant_of(meta.get("date_done")) if meta["status"] in states.READY_STATES else None,
        args=list(meta.get("args") or ()),
        kwargs=dict(meta.get("kwargs") or {}),
        backend=stamp["backend"],
        errors=[_error(meta)] if status == TaskResultStatus.FAILED else [],
        worker_ids=[meta["worker"]] if meta.get("worker") else [],
    )
    if status == TaskResultStatus.SUCCESSFUL:
        object.__setattr__(result, "_return_value", meta["result"])
    return result


def error_of(exc: BaseException, traceback: str) -> TaskError:
    """Return an exception as Django's Tasks have it."""
    kind = type(exc)
    return TaskError(exception_class_path=f"{kind.__module__}.{kind.__qualname__}", traceback=traceback)


def _error(meta: Mapping[str, Any]) -> TaskError:
    return error_of(meta["result"], meta.get("traceback") or str(meta["result"]))


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
