"""A backend of Django's Tasks: those with ``run_after`` wait in the timer, the others go through Celery's broker."""

from collections.abc import Mapping, Sequence
from typing import Any

from celery import current_app, states
from celery.app.task import Context
from celery.backends.base import BaseKeyValueStoreBackend
from celery.result import EagerResult
from celery.utils import uuid
from django.core.checks import CheckMessage, Warning  # noqa: A004 - Django's name
from django.utils import timezone
from django.utils.module_loading import import_string

from celery_dtimer.celery_patches.apps import behind_proxy
from celery_dtimer.django.results import STAMP, STATUSES, error_of, meta_of, result_of, stamp_of
from celery_dtimer.django.running import celery_task_of
from celery_dtimer.django.task_api import (
    DEFAULT_TASK_QUEUE_NAME,
    BaseTaskBackend,
    InvalidTask,
    InvalidTaskBackend,
    Task,
    TaskResult,
    TaskResultStatus,
    task_enqueued,
)
from celery_dtimer.posting.task import post
from celery_dtimer.posting.task_timer import get_timer

#: The one option: whether tasks may have priorities.
PRIORITIES = "PRIORITIES"

#: The name of the check's message, for SILENCED_SYSTEM_CHECKS.
NO_RESULTS = "dtimer.W002"


class DTimerBackend(BaseTaskBackend):  # type: ignore[misc] # Django ships no types
    """Runs Django's Tasks in the workers of the project's Celery app.

    A task is a task of Celery's too, under its own path. Its queue is Celery's of the same name; Django's ``"default"``
    is what Celery's routing says. ``OPTIONS = {"PRIORITIES": True}`` allows priorities.

    Raises:
        InvalidTaskBackend: There is another option.
    """

    supports_defer = True
    supports_async_task = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        for name in self.options:
            if name != PRIORITIES:
                raise InvalidTaskBackend(f"an option of {type(self).__name__} must be {PRIORITIES}, got {name!r}")
        #: Off by default: a task without a priority would get one too, and wait behind Celery's that have none.
        self.supports_priority = bool(self.options.get(PRIORITIES, False))

    @property
    def supports_get_result(self) -> bool:
        """Whether Celery stores enough of a task: ``result_extended`` is set, and its backend keeps stamps.

        Backends that store all as one value do: Redis, Memcached, files and others. Databases have a column each.
        """
        app = _app()
        return bool(app.conf.result_extended) and isinstance(app.backend, BaseKeyValueStoreBackend)

    def validate_task(self, task: Task) -> None:
        """Refuse what Django refuses, and make the Celery task of what is allowed.

        Raises:
            InvalidTask: It is no task for this backend.
        """
        super().validate_task(task)
        celery_task_of(task.func)

    def enqueue(self, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskResult:
        """Send a task to the broker, or post it if it has a ``run_after``.

        Raises:
            InvalidTask: It is no task for this backend, or no worker would know it.
            DTimerError: It has a ``run_after``, and the timer could not store it.
        """
        self.validate_task(task)
        _refuse_unknown(task)
        result = TaskResult(
            task=task,
            id=uuid(),
            status=TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=list(args),
            kwargs=dict(kwargs),
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        celery_task = celery_task_of(task.func)
        options: dict[str, Any] = {"task_id": result.id, "stamped_headers": [STAMP], STAMP: stamp_of(result)}
        if task.queue_name != DEFAULT_TASK_QUEUE_NAME:
            options["queue"] = task.queue_name
        stored = self.supports_get_result and not celery_task.app.conf.task_always_eager
        if stored:
            _store(celery_task, result)
        try:
            sent = self._send(celery_task, result, options)
        except BaseException:
            if stored:
                celery_task.backend.forget(result.id)
            raise
        task_enqueued.send(type(self), task_result=result)
        if isinstance(sent, EagerResult):
            _take_over(result, sent)
        return result

    def _send(self, celery_task: Any, result: TaskResult, options: dict[str, Any]) -> Any:
        run_after = result.task.run_after
        if run_after is not None:
            eta = run_after if timezone.is_aware(run_after) else timezone.make_aware(run_after)
            return post(celery_task, result.args, result.kwargs, options, eta=eta)
        if self.supports_priority:
            options["priority"] = _priority(celery_task.app, result.task.priority)
        return celery_task.apply_async(result.args, result.kwargs, **options)

    def get_result(self, result_id: str) -> TaskResult:
        """Return what Celery's result backend has of a task.

        Raises:
            TaskResultDoesNotExist: There is nothing, or nothing any more: see Celery's ``result_expires``.
            TimerUnavailableError: The timer's Redis did not answer.
            NotImplementedError: Celery does not store enough: see ``supports_get_result``.
        """
        if not self.supports_get_result:
            raise NotImplementedError(
                "results need a result backend of Celery's that is no database, and CELERY_RESULT_EXTENDED = True"
            )
        app = _app()
        meta = app.backend.get_task_meta(result_id, cache=False)
        if STAMP not in meta:
            event = get_timer(app).peek(result_id)
            meta = meta if event is None else meta_of(event)
        return result_of(result_id, meta)

    def check(self, **_: Any) -> list[CheckMessage]:
        """Say that results can't be read."""
        if self.supports_get_result:
            return []
        return [
            Warning(
                f"The task backend {self.alias!r} can't read results.",
                hint="Give Celery a result backend that is no database, and set CELERY_RESULT_EXTENDED = True.",
                id=NO_RESULTS,
            )
        ]


def _app() -> Any:
    return behind_proxy(current_app)


def _refuse_unknown(task: Task) -> None:
    """Refuse a task that has this backend only in this process: no worker would know it.

    Raises:
        InvalidTask: Its decorator names another backend.
    """
    decorated = import_string(task.module_path)
    if isinstance(decorated, Task) and not isinstance(decorated.get_backend(), DTimerBackend):
        raise InvalidTask(
            f"{task.module_path} must have backend={task.backend!r} in its decorator: workers know it by that alone"
        )


def _store(celery_task: Any, result: TaskResult) -> None:
    """Store that a task waits: Celery itself stores nothing before a task starts."""
    request = Context(
        id=result.id,
        task=celery_task.name,
        args=result.args,
        kwargs=result.kwargs,
        stamps={STAMP: stamp_of(result)},
        stamped_headers=[STAMP],
    )
    celery_task.backend.store_result(result.id, None, states.PENDING, request=request)


def _priority(app: Any, priority: int) -> int:
    """Return the priority of Celery's, 0 to 9, for one of Django's, -100 to 100; with Redis, 0 is the highest."""
    level = round((priority + 100) * 9 / 200)
    with app.connection_for_write() as connection:
        return 9 - level if connection.transport.driver_type == "redis" else level


def _take_over(result: TaskResult, sent: EagerResult) -> None:
    """Let a result say what became of a task that ran at once (``task_always_eager``)."""
    status = STATUSES.get(sent.state, TaskResultStatus.READY)
    object.__setattr__(result, "status", status)
    if status == TaskResultStatus.SUCCESSFUL:
        object.__setattr__(result, "_return_value", sent.result)
    elif status == TaskResultStatus.FAILED:
        result.errors.append(error_of(sent.result, sent.traceback or str(sent.result)))
    object.__setattr__(result, "finished_at", timezone.now())
