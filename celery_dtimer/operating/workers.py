"""What the workers and the broker are asked by the commands, and for how long."""

import threading
import time
from collections.abc import Set as AbstractSet
from typing import Any

from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from celery_dtimer.errors import DTimerError
from celery_dtimer.extension import Extension, extension_of
from celery_dtimer.settings import Settings

#: Seconds for workers to answer for which queues they fire.
ANSWER = 0.5

#: Seconds without a successful round of a worker's listener: an idle one makes a round every 4 s at least, or every
#: dtimer_poll_interval, of which several may go by.
STUCK, STUCK_INTERVALS = 30.0, 3

#: Seconds for those that nobody expects, once all that are expected have answered: those of an older version.
REST = 0.3

#: Name of the thread that asks; it may outlive the answer.
ASKING = "dtimer-asks-workers"

#: Seconds to ask them at all: connecting to a broker that is away takes longer than any person waits.
PATIENCE = 3.0


def check_broker(app: Any) -> None:
    """Connect to the broker once, where its failures are raised as they are."""
    with app.connection_for_read() as connection:
        if connection.transport.driver_type == "redis":
            connection.transport_options.setdefault("socket_connect_timeout", PATIENCE)
        connection.connect()


def broker_errors(app: Any) -> tuple[type[Exception], ...]:
    """Return what a broker that is away, or refuses something, raises."""
    connection = app.connection_for_read()
    return (*connection.connection_errors, *connection.channel_errors, KombuError, OSError)


def fired_queues(app: Any) -> set[str] | None:
    """Return the queues that workers with a timer fire for, or None if the broker does not answer in time."""
    reports = timers_of_workers(app, timeout=ANSWER, expected=connected(extension_of(app)))
    if reports is None:
        return None
    namespace = extension_of(app).settings.namespace
    return {queue for report in reports.values() if report.get("namespace") == namespace for queue in report["queues"]}


def timers_of_workers(
    app: Any,
    destination: list[str] | None = None,
    *,
    timeout: float = 1.0,
    patience: float = PATIENCE,
    expected: AbstractSet[str] = frozenset(),
) -> dict[str, Any] | None:
    """Return what ``inspect dtimer`` says of each worker with a timer, or None if the broker does not answer.

    Workers of another app that shares the broker are left out, unless they share the namespace.

    Args:
        app: The app.
        destination: Names of the workers to ask; None: all. With names, it returns when all have answered.
        timeout: Seconds without an answer after which no more are expected.
        patience: Seconds for all; what was answered by then is returned.
        expected: Names of workers that are there. Once all of them have answered, others have REST seconds.
    """
    found: dict[str, Any] = {}
    asked, complete = threading.Event(), threading.Event()

    def take(reply: Any) -> None:
        found.update({name: answer for name, answer in reply.items() if _is_of(app, answer)})
        if expected and expected <= found.keys():
            complete.set()

    def ask() -> None:
        try:
            app.control.broadcast("dtimer", destination=destination, reply=True, timeout=timeout, callback=take)
        except Exception:  # noqa: BLE001 - whatever a broker raises: it was not asked for the sake of this
            return
        else:
            asked.set()
        finally:
            complete.set()

    until = time.monotonic() + patience
    # It may wait for a connection for minutes.
    asking = threading.Thread(target=ask, name=ASKING, daemon=True)
    asking.start()
    complete.wait(patience)
    asking.join(min(REST, max(0.0, until - time.monotonic())))
    return found.copy() if found or asked.is_set() else None


def _is_of(app: Any, report: Any) -> bool:
    """Whether a worker that answers this is one of the app's, with a timer; an older one does not say its app."""
    # Another app's worker may answer anything.
    if not isinstance(report, dict) or "queues" not in report:
        return False
    return report.get("app", app.main) == app.main or report.get("namespace") == extension_of(app).settings.namespace


def stuck_after(settings: Settings) -> float:
    """Return the seconds without a round after which a listener counts as stuck."""
    return max(STUCK, STUCK_INTERVALS * settings.poll_interval)


def connected(extension: Extension) -> set[str]:
    """Return the names of the workers whose listeners make rounds, by Redis; empty if it may not be asked for that."""
    limit = stuck_after(extension.settings)
    try:
        return {holder for holder, idle in extension.shards.listeners().items() if idle <= limit}
    except (RedisError, DTimerError, OSError):
        return set()


def held_by_workers(app: Any, timeout: float = 1.0) -> set[str]:
    """Return the ids of the tasks that the workers which answer hold in their memory."""
    inspect = app.control.inspect(timeout=timeout)
    held: set[str] = set()
    for answers in (inspect.scheduled(), inspect.reserved(), inspect.active()):
        for tasks in (answers or {}).values():
            held.update(task.get("request", task)["id"] for task in tasks)
    return held
