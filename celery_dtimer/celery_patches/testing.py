"""Accommodations of an app whose tests decide what time it is."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

from celery.app.task import Task
from celery.backends.cache import CacheBackend
from kombu.utils.functional import LRUCache

from celery_dtimer.accommodations import accommodates

#: Results that are kept at a time.
MOST_RESULTS = 100_000


class MemoryBackend(CacheBackend):  # type: ignore[misc] # Celery ships no types
    """Results in this process, of one test alone; Celery's own ``cache+memory://`` shares them with all tests."""

    def __init__(self, app: Any) -> None:
        super().__init__(app=app, url="memory://")
        self.client.cache = LRUCache(limit=MOST_RESULTS)

    def _ensure_not_eager(self) -> None:
        """Warn of nothing: the timer's tasks have results where the others of the app are eager."""


@accommodates("all", remove_when="the result backend of an app can be replaced for a while")
@contextmanager
def results_in_memory(app: Any) -> Iterator[None]:
    """Keep the results of an app in this process, whatever its configuration says."""
    before = app._backend_cache  # noqa: SLF001 - see above
    app._backend_cache = MemoryBackend(app)  # noqa: SLF001 - see above
    try:
        yield
    finally:
        app._backend_cache = before  # noqa: SLF001 - see above


@accommodates("all", remove_when="task_always_eager can be answered call by call")
@contextmanager
def not_always_eager(app: Any, is_sent: Callable[[Mapping[str, Any]], bool]) -> Iterator[None]:
    """Let some calls be sent although the app has ``task_always_eager``.

    Args:
        app: The app.
        is_sent: Is asked of each call of a task of the app, by the parameters of ``Celery.send_task``.
    """
    native = Task.apply_async

    @wraps(native)
    def apply_async(task: Any, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> Any:
        if task.app is not app or not app.conf.task_always_eager:
            return native(task, args, kwargs, *more, **options)
        call = {**options, "name": task.name, "task_type": task}
        if more:
            call["task_id"] = more[0]
        if not is_sent(call):
            return native(task, args, kwargs, *more, **options)
        app.conf.task_always_eager = False
        try:
            return native(task, args, kwargs, *more, **options)
        finally:
            app.conf.task_always_eager = True

    Task.apply_async = apply_async
    try:
        yield
    finally:
        Task.apply_async = native


@accommodates("all", remove_when="a relative `expires` can be counted from another instant than the host's now")
@contextmanager
def expiring(app: Any, expiry: Callable[[float], Any]) -> Iterator[None]:
    """Let ``expiry`` say at which instant a task expires that expires after some seconds."""
    native = app.send_task

    @wraps(native)
    def send_task(*args: Any, **options: Any) -> Any:
        expires = options.get("expires")
        if isinstance(expires, int | float) and not isinstance(expires, bool):
            options["expires"] = expiry(expires)
        return native(*args, **options)

    app.send_task = send_task
    try:
        yield
    finally:
        app.send_task = native
