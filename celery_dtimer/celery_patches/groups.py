"""Accommodation of Celery's groups, for posting: their members are sent within a context of ours."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any

from celery.canvas import group

from celery_dtimer.accommodations import accommodates

#: On the method that stands for Celery's own: there is one, however many apps have a timer.
MARK = "dtimer_stands_for"


@accommodates("all", remove_when="Celery calls a hook before a group's first member is sent and after its last")
def around_groups(context_of: Callable[[Any, Any], AbstractContextManager[None] | None]) -> None:
    """Let the members of every group be sent within a context; once more changes nothing.

    A chord's header is a group, and so are chunks. Celery sends the members through one producer, which it hands to
    each of them; the context ends when it has sent the last one, before ``apply_async`` of the group returns.

    Args:
        context_of: Returns the context for an app and that producer; None: the group is Celery's alone.
    """
    native = group._apply_tasks  # noqa: SLF001 - there is no hook
    if hasattr(native, MARK):
        return

    @wraps(native)
    def apply_tasks(self: Any, tasks: Any, producer: Any = None, app: Any = None, *args: Any, **options: Any) -> Any:
        app = app or self.app
        with app.producer_or_acquire(producer) as its_producer:
            context = context_of(app, its_producer)
            members: Iterator[Any] = native(self, tasks, its_producer, app, *args, **options)
            if context is None:
                yield from members
                return
            with context:
                yield from members

    setattr(apply_tasks, MARK, native)
    group._apply_tasks = apply_tasks  # noqa: SLF001 - there is no hook
