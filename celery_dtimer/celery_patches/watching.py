"""Accommodations of Celery's pools, for firing: news about tasks that requests do not keep, or get wrong."""

import logging
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from billiard.exceptions import TimeLimitExceeded
from celery.concurrency.prefork import TaskPool as ProcessPool
from celery.worker import state

from celery_dtimer.accommodations import accommodates
from celery_dtimer.celery_patches import pools
from celery_dtimer.celery_patches.starting import sleep_until, start_at
from celery_dtimer.timer.legible import legible
from celery_dtimer.timer.shown import last_line

logger = logging.getLogger(__name__)


@accommodates("all", remove_when="Celery signals in the parent process that a task was started, killed or has ended")
@dataclass(frozen=True)
class Watch:
    """Calls back when a task of a pool starts, is killed or ends.

    Attributes:
        ours: Whether a request is one of the timer's. Of others, only the ends are reported.
        due: Called with a request that the pool is to get; returns the monotonic instant before which its task does not
            start. If that is soon, it waits in the pool, where it may (see ``pools.may_wait_in_pool``), or here.
        on_accepted: Called with a request whose task starts.
        on_cancelled: Called with a request whose process or greenlet Celery has killed, and which it did not revoke.
        on_ran: Called with the registered name of a task that has run, and its run time in seconds.
        on_free: Called when any task has ended.
    """

    ours: Callable[[Any], bool]
    due: Callable[[Any], float]
    on_accepted: Callable[[Any], None]
    on_cancelled: Callable[[Any], None]
    on_ran: Callable[[str, float], None]
    on_free: Callable[[], None]

    def watch(self, pool: Any) -> None:
        """Watch a pool that has been started."""
        apply, in_processes = pool.on_apply, isinstance(pool, ProcessPool)
        waits_in_pool = pools.may_wait_in_pool(pool)

        @wraps(apply)
        def on_apply(*args: Any, **options: Any) -> Any:
            request = getattr(options.get("callback"), "__self__", None)
            if request is None:
                return apply(*args, **options)
            ours = self.ours(request)
            due = self.due(request) if ours else 0.0
            if ours:
                self._follow(request, options, due if waits_in_pool and not in_processes else 0.0)
                if not in_processes:
                    args = (partial(_caught, args[0]), *args[1:])
                elif waits_in_pool and due > time.monotonic():
                    args = (start_at, (due, args[0], *args[1]), *args[2:])
            if not in_processes and options.get("accept_callback") is not None:
                options["accept_callback"] = partial(self._accepted, weakref.ref(request), options["accept_callback"])
            options["callback"] = partial(self._ended, options["callback"], request.type)
            options["error_callback"] = partial(self._ended, options["error_callback"], None)
            if not waits_in_pool:
                sleep_until(due)
            return apply(*args, **options)

        pool.on_apply = on_apply

    def _accepted(
        self, reference: "weakref.ref[Any]", callback: Callable[..., None], *args: Any, **options: Any
    ) -> None:
        """Call back; take a request that can't be accepted out of the pool, where Celery would count it for ever.

        That happens if a task's name is no text. Its task does not run, except in prefork.
        """
        try:
            callback(*args, **options)
        except Exception:
            request = reference()
            if request is not None:
                state.task_ready(request)
            self.on_free()
            raise

    def _ended(self, callback: Callable[..., None], name: str | None, result: Any, *args: Any, **options: Any) -> None:
        try:
            callback(result, *args, **options)
        finally:
            # The result is (failed, returned value, run time).
            if name is not None and isinstance(result, tuple) and isinstance(result[-1], float):
                self.on_ran(name, result[-1])
            self.on_free()

    def _follow(self, request: Any, options: dict[str, Any], due: float) -> None:
        """Wrap a request's callbacks; a ``due`` above 0 is waited for in the thread that starts its task."""
        # None of these may refer to the options, nor the request to itself: a cycle would keep it alive, and its event
        # leased, until the garbage collector runs.
        on_accepted, accept_callback = self.on_accepted, options.get("accept_callback")
        callback, (failed, timed_out) = options["callback"], _noting_errors(request, options)

        def accepted(*args: Any, **more: Any) -> None:
            if due:
                sleep_until(due)
                # The instant at which it starts comes second.
                args = (args[0], time.monotonic(), *args[2:])
            on_accepted(request)
            if accept_callback is not None:
                accept_callback(*args, **more)

        def ended(result: Any, *args: Any, **more: Any) -> None:
            if isinstance(result, tuple) and result[0] and not request.acknowledged:
                request.message.error = _error_of(result[1])
            if isinstance(result, ExceptionInfo):
                # In a pool without processes. Celery hands a SystemExit to the callback for results, which fails, and
                # takes the task for running ever after.
                try:
                    failed(result)
                except Exception:
                    # It has acknowledged or rejected it before; billiard's pool goes on as well.
                    logger.exception(
                        "dtimer: the failure of task %s could not be stored; the worker goes on",
                        legible(request.id),
                        extra={"dtimer_event": request.id},
                    )
            elif _was_killed(result) and not request.acknowledged:
                # No success: the code that killed it decides about its event.
                state.task_ready(request)
            else:
                request.message.ended_well = isinstance(result, tuple) and not result[0] and not _was_killed(result)
                callback(result, *args, **more)

        options.update(accept_callback=accepted, callback=ended, error_callback=failed, timeout_callback=timed_out)
        announce = partial(_announce_cancelled, weakref.ref(request), self.on_cancelled)
        request._announce_cancelled = announce  # noqa: SLF001 - there is no hook


def _noting_errors(request: Any, options: dict[str, Any]) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return the callbacks of a pool's error and of a time limit, which leave the error on the request's message."""
    error_callback, timeout_callback = options["error_callback"], options.get("timeout_callback")

    def failed(info: Any, *args: Any, **more: Any) -> None:
        request.message.error = _error_of(info)
        error_callback(info, *args, **more)

    def timed_out(soft: bool, timeout: float) -> None:
        if not soft:
            request.message.error = last_line(TimeLimitExceeded(timeout))
        if timeout_callback is not None:
            timeout_callback(soft, timeout)

    return failed, timed_out


def _error_of(info: Any) -> str:
    """Return the last line of a traceback that a pool reports, or nothing."""
    exc = getattr(info, "exception", None)
    if isinstance(exc, ExceptionWithTraceback):
        exc = exc.exc
    return last_line(exc) if isinstance(exc, BaseException) else ""


@accommodates("all", remove_when="Celery does not take a killed greenlet for a success", celery=9083)
def _was_killed(result: Any) -> bool:
    """Whether a gevent or eventlet pool reports that the task's greenlet was killed.

    Celery takes its ``(False, None, None)`` for a success (celery/concurrency/gevent.py, killable_target). A real one
    is ``(0, text, runtime)``; and ``(0, None, None)`` if the task was skipped, since it has succeeded before
    (celery/app/trace.py, worker_deduplicate_successful_tasks): equal to the former, but for its type.
    """
    return isinstance(result, tuple) and result[0] is False


@accommodates("all", remove_when="the other pools report what a tracer raises, as prefork does", celery=5642)
def _caught(target: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Run a task's tracer as a process does: return its error.

    It raises if the result can't be stored. The other pools drop that: the request would be active, and its event
    leased, for as long as the worker lives.
    """
    try:
        return target(*args, **options)
    except Exception:  # noqa: BLE001 - whatever a result backend raises
        return ExceptionInfo()


@accommodates("all", remove_when="a cancelled request does not depend on its result backend", celery=7185)
def _announce_cancelled(
    reference: "weakref.ref[Any]", on_cancelled: Callable[[Any], None], *args: Any, **options: Any
) -> None:
    # Called by the request's cancel() right after the kill. Celery notices only when it has a broker again that the
    # process is gone. It takes its task for revoked then, and acknowledges it, if what follows here failed: a result is
    # written before it says that it is not.
    request = reference()
    if request is not None:
        request._already_cancelled = True  # noqa: SLF001 - there is no hook
        on_cancelled(request)
        type(request)._announce_cancelled(request, *args, **options)  # noqa: SLF001 - there is no hook
