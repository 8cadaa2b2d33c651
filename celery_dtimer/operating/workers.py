"""What the workers and the broker are asked by the commands, and for how long."""

import threading
from typing import Any

from kombu.exceptions import KombuError

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
    found: list[set[str]] = []

    def ask() -> None:
        try:
            answers = app.control.inspect(timeout=ANSWER).stats() or {}
        except Exception:  # noqa: BLE001 - whatever a broker raises: it was not asked for the sake of this
            return
        timers = [answer.get("dtimer") for answer in answers.values() if isinstance(answer, dict)]
        found.append({queue for timer in timers if timer for queue in timer["queues"]})

    # It may wait for a connection for minutes.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return found[0] if found else None


def timers_of_workers(app: Any, destination: list[str] | None = None) -> dict[str, Any] | None:
    """Return what ``inspect dtimer`` says of each worker with a timer, or None if the broker does not answer."""
    found: list[dict[str, Any]] = []

    def ask() -> None:
        try:
            replies = app.control.broadcast("dtimer", destination=destination, reply=True, timeout=1.0) or []
        except Exception:  # noqa: BLE001 - whatever a broker raises: it was not asked for the sake of this
            return
        answers = {name: answer for reply in replies for name, answer in reply.items()}
        found.append({name: answer for name, answer in answers.items() if "queues" in answer})

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return found[0] if found else None


def held_by_workers(app: Any, timeout: float = 1.0) -> set[str]:
    """Return the ids of the tasks that the workers which answer hold in their memory."""
    inspect = app.control.inspect(timeout=timeout)
    held: set[str] = set()
    for answers in (inspect.scheduled(), inspect.reserved(), inspect.active()):
        for tasks in (answers or {}).values():
            held.update(task.get("request", task)["id"] for task in tasks)
    return held
