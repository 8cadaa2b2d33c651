"""What the workers and the broker are asked by the commands, and for how long."""

import threading
from typing import Any

from kombu.exceptions import KombuError

from celery_dtimer.extension import extension_of

#: Seconds for workers to answer for which queues they fire.
ANSWER = 0.5

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
    reports = timers_of_workers(app, timeout=ANSWER)
    if reports is None:
        return None
    namespace = extension_of(app).settings.namespace
    return {queue for report in reports.values() if report.get("namespace") == namespace for queue in report["queues"]}


def timers_of_workers(
    app: Any, destination: list[str] | None = None, *, timeout: float = 1.0, patience: float = PATIENCE
) -> dict[str, Any] | None:
    """Return what ``inspect dtimer`` says of each worker with a timer, or None if the broker does not answer.

    Workers of another app that shares the broker are left out, unless they share the namespace.

    Args:
        app: The app.
        destination: Names of the workers to ask; None: all. With names, it returns when all have answered.
        timeout: Seconds without an answer after which no more are expected.
        patience: Seconds for all; what was answered by then is returned.
    """
    found: dict[str, Any] = {}
    asked = threading.Event()

    def take(reply: Any) -> None:
        found.update({name: answer for name, answer in reply.items() if _is_of(app, answer)})

    def ask() -> None:
        try:
            app.control.broadcast("dtimer", destination=destination, reply=True, timeout=timeout, callback=take)
        except Exception:  # noqa: BLE001 - whatever a broker raises: it was not asked for the sake of this
            return
        asked.set()

    # It may wait for a connection for minutes.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience)
    return found.copy() if found or asked.is_set() else None


def _is_of(app: Any, report: Any) -> bool:
    """Whether a worker that answers this is one of the app's, with a timer; an older one does not say its app."""
    # Another app's worker may answer anything.
    if not isinstance(report, dict) or "queues" not in report:
        return False
    return report.get("app", app.main) == app.main or report.get("namespace") == extension_of(app).settings.namespace


def held_by_workers(app: Any, timeout: float = 1.0) -> set[str]:
    """Return the ids of the tasks that the workers which answer hold in their memory."""
    inspect = app.control.inspect(timeout=timeout)
    held: set[str] = set()
    for answers in (inspect.scheduled(), inspect.reserved(), inspect.active()):
        for tasks in (answers or {}).values():
            held.update(task.get("request", task)["id"] for task in tasks)
    return held
