"""``app.control.revoke(id)``, and so ``result.revoke()`` and Flower's button, of a task that waits in the timer."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from celery.utils.functional import maybe_list
from celery.worker.control import Panel, control_command

from celery_dtimer.errors import DTimerError, InvalidEventError, NotInstalledError
from celery_dtimer.posting.task_timer import get_timer
from celery_dtimer.timer.legible import legible

logger = logging.getLogger(__name__)

#: Seconds that a worker's loop waits for the timer's Redis. If it takes longer, the rest is done in the background.
PATIENCE = 1.0

#: Celery's own commands, which are carried out first: what is claimed from then on is not run.
REVOKE: Callable[..., Any] = Panel.data["revoke"]
TERMINATE: Callable[..., Any] = Panel.data["terminate"]


@control_command(variadic="task_id", signature="[id1 [id2 [... [idN]]]]")
def revoke(state: Any, task_id: Any, terminate: bool = False, signal: Any = None, **options: Any) -> Any:
    """Revoke task by task id (or list of ids); one that waits in the timer is cancelled."""
    reply = REVOKE(state, task_id, terminate, signal, **options)
    _cancel_soon(state, task_id)
    return reply


@control_command(variadic="task_id", args=[("signal", str)], signature="<signal> [id1 [id2 [... [idN]]]]")
def terminate(state: Any, signal: Any, task_id: Any, **options: Any) -> Any:
    """Terminate task by task id (or list of ids); one that waits in the timer is cancelled."""
    reply = TERMINATE(state, signal, task_id, **options)
    _cancel_soon(state, task_id)
    return reply


def _cancel_soon(state: Any, task_id: Any) -> None:
    cancelled: list[str] = []
    # A Redis that does not answer must not hold up the worker's loop.
    thread = threading.Thread(
        target=_cancel, args=(state.app, maybe_list(task_id) or [], cancelled), name="dtimer-revoke", daemon=True
    )
    thread.start()
    thread.join(PATIENCE)
    monitors = getattr(state.consumer, "event_dispatcher", None)
    if monitors is not None and monitors.enabled:
        for each in tuple(cancelled):
            monitors.send("task-revoked", uuid=each, terminated=False, signum=None, expired=False)


def _cancel(app: Any, task_ids: Any, cancelled: list[str]) -> None:
    try:
        timer = get_timer(app)
        for task_id in task_ids:
            try:
                if timer.cancel(task_id):
                    cancelled.append(task_id)
            except InvalidEventError:
                continue  # no event has such an id
    except NotInstalledError:
        return  # a worker of another app in this process
    except DTimerError as exc:
        logger.warning("dtimer: revoked tasks are not cancelled in the timer (%s); this worker will not run them", exc)
    if cancelled:
        logger.info("dtimer: revoked tasks are cancelled: %s", legible(", ".join(cancelled), 1000))
