"""Each task of Django's as a task of Celery's, under its own name: what a worker runs."""

from collections.abc import Callable, Mapping
from functools import cache
from traceback import format_exception
from typing import Any

from celery import shared_task, states
from celery.exceptions import TaskPredicate
from django.utils import timezone

from celery_dtimer.django.results import STAMP, error_of, instant_of, stamp_of, task_of
from celery_dtimer.django.task_api import (
    TaskContext,
    TaskResult,
    TaskResultStatus,
    normalize_json,
    task_finished,
    task_started,
)


@cache
def celery_task_of(function: Callable[..., Any]) -> Any:
    """Return the Celery task that runs a task of Django's; its name is the function's path.

    Workers know it once they have imported the module of the function, as every task of Celery's.
    """

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _run(self, args, kwargs)

    return shared_task(
        run, bind=True, name=f"{function.__module__}.{function.__qualname__}", typing=False, ignore_result=False
    )


def _run(celery_task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a task in a worker; send the signals, and store that it has started."""
    result = _started(celery_task, args, kwargs)
    task, sender = result.task, type(result.task.get_backend())
    task_started.send(sender=sender, task_result=result)
    context = (TaskContext(task_result=result),) if task.takes_context else ()
    try:
        value = normalize_json(task.call(*context, *args, **kwargs))
    except TaskPredicate:
        raise  # Celery's own: a retry, say
    except Exception as exc:
        result.errors.append(error_of(exc, "".join(format_exception(exc))))
        _finish(result, TaskResultStatus.FAILED)
        task_finished.send(sender=sender, task_result=result)
        raise
    object.__setattr__(result, "_return_value", value)
    _finish(result, TaskResultStatus.SUCCESSFUL)
    task_finished.send(sender=sender, task_result=result)
    return value


def _started(celery_task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> TaskResult:
    request = celery_task.request
    stamp = _stamp_of(request)
    now = timezone.now()
    task = task_of(celery_task.name, stamp)
    result = TaskResult(
        task=task,
        id=request.id,
        status=TaskResultStatus.RUNNING,
        enqueued_at=instant_of(stamp.get("enqueued_at")),
        started_at=now,
        last_attempted_at=now,
        finished_at=None,
        args=list(args),
        kwargs=kwargs,
        backend=task.backend,
        errors=[],
        worker_ids=[request.hostname] if request.hostname else [],
    )
    if stamp and not request.is_eager and task.get_backend().supports_get_result:
        # Celery copies it into what it stores when the task ends.
        request.stamps = {**request.stamps, STAMP: stamp_of(result)}
        celery_task.update_state(state=states.STARTED)
    return result


def _stamp_of(request: Any) -> Mapping[str, Any]:
    """Return the stamp of a message; an empty one if a task is called as one of Celery's."""
    stamp = (request.stamps or {}).get(STAMP) or {}
    found: Mapping[str, Any] = stamp[0] if isinstance(stamp, list) else stamp
    return found


def _finish(result: TaskResult, status: Any) -> None:
    object.__setattr__(result, "finished_at", timezone.now())
    object.__setattr__(result, "status", status)
