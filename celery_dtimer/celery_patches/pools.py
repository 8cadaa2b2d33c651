"""Accommodations of the kinds of pools, for firing."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery import VERSION
from celery.concurrency.prefork import TaskPool as ProcessPool
from celery.concurrency.thread import TaskPool as ThreadPool

from celery_dtimer.accommodations import accommodates

#: Seconds between two looks at a pool that has no way to wait for it.
MOMENT = 0.005


@accommodates("celery before 5.7", remove_when="celery>=5.7", celery=10361)
def size(pool: Any) -> int:
    """Return the number of tasks that run at a time: a gevent pool tells those that run now, and not that it grew."""
    greenlets = pool._pool if pool.is_green else None  # noqa: SLF001 - Celery has no public name for it
    count = pool.num_processes if greenlets is None else greenlets.size
    # A pool of the user's own may not know.
    return count if isinstance(count, int) else 1


@accommodates("celery before 5.6", remove_when="celery>=5.6", celery=7273)
def keep_running(pool: Any) -> None:
    """Let a pool of Celery 5.5 remember the tasks in its processes when the broker's connection is lost.

    It forgets them, and does not notice when they end: leases would last, and slots be taken, until Python's garbage
    collector runs, which in an idle worker is never.
    """
    cache = getattr(getattr(pool, "_pool", None), "_cache", None)
    if VERSION >= (5, 6) or cache is None:
        return
    flush = pool.flush

    def flush_others() -> None:
        running = {number: job for number, job in list(cache.items()) if job._accepted}  # noqa: SLF001 - as flush() does
        flush()
        cache.update((number, job) for number, job in running.items() if not job.ready())

    pool.flush = flush_others


@accommodates("all", remove_when="Python's ThreadPoolExecutor can be shut down by what interrupts a submit")
def stop_amid_a_task(pool: Any) -> None:
    """Let a cold shutdown's signal handler stop a threads pool while the same thread gives it a task.

    Both take the executor's lock, and the worker would wait for itself for ever.
    """
    executor = getattr(pool, "executor", None)
    if isinstance(executor, ThreadPoolExecutor):
        executor._shutdown_lock = threading.RLock()  # type: ignore[assignment] # noqa: SLF001 - there is no other way


@accommodates("all", remove_when="gevent and eventlet pools can be asked whether they are full, or queue as others do")
def has_room(pool: Any) -> bool:
    """Whether the pool takes a task now without blocking.

    A full gevent or eventlet pool blocks the thread that gives it a task. Our thread would block through a shutdown,
    and start its task when the pool has been joined. The other pools queue.
    """
    greenlets = pool._pool if pool.is_green else None  # noqa: SLF001 - Celery has no public name for it
    if greenlets is None:
        return True
    free: Callable[[], int] = getattr(greenlets, "free_count", None) or greenlets.free
    return free() > 0


@accommodates("all", remove_when="gevent and eventlet pools can be asked whether they are full, or queue as others do")
def wait_for_room(pool: Any) -> None:
    """Wait a moment, or, in a full gevent pool, until it has room, in line with the broker's task that waits too.

    Without a time limit: a thread that gives up and comes again is the last in line each time.
    """
    wait = getattr(pool._pool, "wait_available", None)  # noqa: SLF001 - Celery has no public name for it
    if wait is None or has_room(pool):
        time.sleep(MOMENT)
    else:
        wait()


def may_wait_in_pool(pool: Any) -> bool:
    """Whether a task may wait in the pool for a moment, where it holds up its own slot alone: in prefork and threads.

    A subclass may have its own way to start a task.
    """
    kind = type(pool)
    in_threads = getattr(kind, "on_apply", None) is ThreadPool.on_apply
    return in_threads or getattr(kind, "on_start", None) is ProcessPool.on_start


def runs_inline(pool: Any) -> bool:
    """Whether a task runs right where it is given to the pool: in a solo pool."""
    return type(pool).__module__.endswith("solo") and bool(pool.limit == 1)


@accommodates("all", remove_when="a solo pool runs one task at a time, whichever threads give it tasks", celery=6131)
def one_at_a_time(pool: Any) -> None:
    """Let a solo pool run one task at a time: without a hub, its tasks come from the main thread and from ours."""
    if not runs_inline(pool):
        return
    lock, apply = threading.RLock(), pool.on_apply

    def on_apply(*args: Any, **options: Any) -> Any:
        with lock:
            return apply(*args, **options)

    pool.on_apply = on_apply
