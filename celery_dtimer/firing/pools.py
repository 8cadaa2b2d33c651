"""What firing has to know about Celery's pools, and what it has to be told by them."""

import logging
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import VERSION
from celery.concurrency.prefork import TaskPool as ProcessPool
from celery.worker import state

logger = logging.getLogger(__name__)

#: What a gevent or eventlet pool reports of a task whose greenlet was killed: Celery takes it for a success
#: (celery/concurrency/gevent.py, killable_target). A real success has a result's text and a runtime.
KILLED = (False, None, None)

#: Seconds between two looks at a pool that nobody can wait for.
MOMENT = 0.005


def size(pool: Any) -> int:
    """How many tasks run at a time.

    Before Celery 5.7, a gevent pool says how many run now, and does not notice itself that it has grown.
    """
    greenlets = pool._pool if pool.is_green else None  # noqa: SLF001 - Celery has no public name for it
    count: int = pool.num_processes if greenlets is None else greenlets.size
    return count


def keep_running(pool: Any) -> None:
    """Let a pool of Celery 5.5 know what runs in its processes when the broker's connection is lost, as later ones do.

    It forgets that, and hears nothing of their ends: leases would last, and slots be taken, until Python's garbage
    collector comes round, which in an idle worker is never.
    """
    cache = getattr(getattr(pool, "_pool", None), "_cache", None)
    if VERSION >= (5, 6) or cache is None:
        return
    flush = pool.flush

    def flush_others() -> None:
        running = {number: job for number, job in list(cache.items()) if job._accepted}  # noqa: SLF001 - the same
        flush()
        cache.update((number, job) for number, job in running.items() if not job.ready())

    pool.flush = flush_others


def has_room(pool: Any) -> bool:
    """Whether a task given to the pool now is not waited for.

    A gevent or eventlet pool that is full blocks whoever gives it a task. Ours would block through a shutdown, and
    start its task when the pool has been joined. The other pools queue.
    """
    greenlets = pool._pool if pool.is_green else None  # noqa: SLF001 - Celery has no public name for it
    if greenlets is None:
        return True
    free: Callable[[], int] = getattr(greenlets, "free_count", None) or greenlets.free
    return free() > 0


def wait_for_room(pool: Any) -> None:
    """Wait a moment, or, in a full gevent pool, until it has room: in line with the broker's task that waits for that.

    However long that takes: who gives up and comes again is the last in line each time, and may never have a turn.
    """
    wait = getattr(pool._pool, "wait_available", None)  # noqa: SLF001 - the same
    if wait is None or has_room(pool):
        time.sleep(MOMENT)
    else:
        wait()


def runs_inline(pool: Any) -> bool:
    """Whether a task runs right where it is given to the pool: in a solo pool."""
    return type(pool).__module__.endswith("solo") and bool(pool.limit == 1)


def one_at_a_time(pool: Any) -> None:
    """Keep a solo pool's promise: without a hub, its tasks come from the main thread and from ours."""
    if not runs_inline(pool):
        return
    lock, apply = threading.RLock(), pool.on_apply

    def on_apply(*args: Any, **options: Any) -> Any:
        with lock:
            return apply(*args, **options)

    pool.on_apply = on_apply


def watch(
    pool: Any,
    *,
    ours: Callable[[Any], bool],
    on_accepted: Callable[[Any], None],
    on_cancelled: Callable[[Any], None],
    on_ran: Callable[[str, float], None],
    on_free: Callable[[], None],
) -> None:
    """Be told by the pool what Celery's requests do not keep, or get wrong.

    Args:
        pool: The worker's pool; it has been started.
        ours: Whether a request is one of the timer's: of others, only that they have run is told.
        on_accepted: Called with a request whose task starts.
        on_cancelled: Called with a request whose process or greenlet Celery has killed, and which it did not revoke.
        on_ran: Called with the name of a task that has run, and the seconds that it took.
        on_free: Called when any task has ended.
    """
    apply = pool.on_apply

    @wraps(apply)
    def on_apply(*args: Any, **options: Any) -> Any:
        request = getattr(options.get("callback"), "__self__", None)
        if request is not None and ours(request):
            _watch_one(request, options, on_accepted, on_cancelled)
            if not isinstance(pool, ProcessPool):
                args = (partial(_caught, args[0]), *args[1:])
        if request is not None:
            callback, error_callback = options["callback"], options["error_callback"]
            options["callback"] = partial(_ended, callback, request.name, on_ran, on_free)
            options["error_callback"] = partial(_ended, error_callback, None, on_ran, on_free)
        return apply(*args, **options)

    pool.on_apply = on_apply


def _caught(target: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Run a task's tracer as a process does: what it raises is told as well.

    It raises where the result can't be stored. The other pools drop that: the request would be active, and its event
    leased, for as long as the worker lives.
    """
    try:
        return target(*args, **options)
    except Exception:  # noqa: BLE001 - whatever a result backend raises
        return ExceptionInfo()


def _ended(
    callback: Callable[..., None],
    name: str | None,
    on_ran: Callable[[str, float], None],
    on_free: Callable[[], None],
    result: Any,
    *args: Any,
    **options: Any,
) -> None:
    try:
        callback(result, *args, **options)
    finally:
        # Whether it failed, what it returned, and how long it took.
        if name is not None and isinstance(result, tuple) and len(result) == len(KILLED) and result[2] is not None:
            on_ran(name, result[2])
        on_free()


def _watch_one(
    request: Any,
    options: dict[str, Any],
    on_accepted: Callable[[Any], None],
    on_cancelled: Callable[[Any], None],
) -> None:
    # None of these may refer to the options, nor the request to itself: a cycle would keep it alive, and its event
    # leased, until the garbage collector comes round.
    accept_callback, callback, error_callback = (
        options.get("accept_callback"),
        options["callback"],
        options["error_callback"],
    )

    def accepted(*args: Any, **more: Any) -> None:
        on_accepted(request)
        if accept_callback is not None:
            accept_callback(*args, **more)

    def ended(result: Any, *args: Any, **more: Any) -> None:
        if isinstance(result, ExceptionInfo):
            # In a pool without processes. A SystemExit Celery hands to the callback for results, which fails, and takes
            # the task for running ever after.
            try:
                error_callback(result)
            except Exception:
                # It has acknowledged or rejected it before; billiard's pool goes on as well.
                logger.exception("dtimer: the failure of task %s could not be stored", request.id)
        elif result == KILLED and not request.acknowledged:
            # No success: whoever killed it says what becomes of it.
            state.task_ready(request)
        else:
            callback(result, *args, **more)

    options.update(accept_callback=accepted, callback=ended)
    request._announce_cancelled = partial(_announce_cancelled, weakref.ref(request), on_cancelled)  # noqa: SLF001 - the same


def _announce_cancelled(
    reference: "weakref.ref[Any]", on_cancelled: Callable[[Any], None], *args: Any, **options: Any
) -> None:
    # Called by the request's cancel() right after the kill. Celery notices only when it has a broker again that the
    # process is gone. It takes its task for revoked then, and acknowledges it, if what follows here failed: a result is
    # written before it says that it is not.
    request = reference()
    if request is not None:
        request._already_cancelled = True  # noqa: SLF001 - the same
        on_cancelled(request)
        type(request)._announce_cancelled(request, *args, **options)  # noqa: SLF001 - the same
