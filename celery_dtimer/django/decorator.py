"""``@dtimer_task`` for type checkers: its tasks have the methods that the Django app gives them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Concatenate, Literal, TypeVar, Unpack, overload

    from celery import Task

    from celery_dtimer.django.on_commit import DTimerDjangoTask
    from celery_dtimer.posting.generic import P, R
    from celery_dtimer.posting.signatures import TaskOptions

    Bound = TypeVar("Bound", bound=Task[..., Any])

    @overload
    def dtimer_task(
        fun: Callable[P, R], /, *, bind: Literal[False] = False, **options: Unpack[TaskOptions]
    ) -> DTimerDjangoTask[P, R]: ...
    @overload
    def dtimer_task(
        *, bind: Literal[False] = False, **options: Unpack[TaskOptions]
    ) -> Callable[[Callable[P, R]], DTimerDjangoTask[P, R]]: ...
    @overload
    def dtimer_task(
        *, bind: Literal[True], **options: Unpack[TaskOptions]
    ) -> Callable[[Callable[Concatenate[Bound, P], R]], DTimerDjangoTask[P, R]]: ...
    def dtimer_task(*args: Any, **options: Any) -> Any:
        """Make a shared task that can be posted."""

else:
    from celery_dtimer import dtimer_task

__all__ = ("dtimer_task",)
