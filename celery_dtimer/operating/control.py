"""Remote control of one worker's timer: ``celery inspect dtimer``, ``celery control dtimer_pause``, and so on."""

import logging
from collections.abc import Callable
from typing import Any

from celery.bootsteps import RUN
from celery.worker.control import Panel, control_command, inspect_command, nok, ok

import celery_dtimer
from celery_dtimer.extension import extension_of
from celery_dtimer.firing.dispatcher import Dispatcher
from celery_dtimer.firing.inbox import Entry
from celery_dtimer.timer.legible import legible

logger = logging.getLogger(__name__)

NO_TIMER = "this worker does not listen to a timer: celery_dtimer.install(app) was not called, or it is starting"

#: Settings that a worker reports, since all workers should have the same.
COMPARED = (
    *("confirm_timeout", "max_redeliveries", "shards", "takeover", "wait_replicas", "max_payload", "parked_ttl"),
    *("catch_up_rate", "catch_up_after"),
)

#: Celery's own answer to ``inspect scheduled``, which is asked first.
NATIVE: Callable[..., list[Any]] = Panel.data["scheduled"]


def _whole(text: Any) -> Any:
    """Read a number on the command line; what is none is left to the worker to refuse."""
    try:
        return int(text)
    except ValueError:
        return text


def _dispatcher(state: Any) -> Dispatcher | None:
    step = getattr(state.consumer, "dtimer", None)
    return None if step is None else step.dispatcher


@inspect_command()
def dtimer(state: Any, **_: Any) -> dict[str, Any]:
    """Show what the worker's timer does: queues, events in flight, counts, lateness."""
    dispatcher = _dispatcher(state)
    if dispatcher is None:
        return dict(nok(NO_TIMER))
    extension = extension_of(state.app)
    return {
        "version": celery_dtimer.__version__,
        "app": state.app.main,
        "namespace": extension.settings.namespace,
        "settings": {name: getattr(extension.settings, name) for name in COMPARED},
        **dispatcher.report(),
    }


@control_command(args=[("n", _whole)], signature="N")
def dtimer_max_events(state: Any, n: Any = None, **_: Any) -> dict[str, Any]:
    """Let the worker hold at most N events at a time, until it restarts; 0: what its setting says."""
    dispatcher = _dispatcher(state)
    if dispatcher is None:
        return dict(nok(NO_TIMER))
    if not isinstance(n, int) or isinstance(n, bool) or n < 0:
        return dict(nok(f"N must be a whole number from 0 on, got {legible(repr(n), 100)}"))
    count = dispatcher.set_max_events(n or None)
    logger.info("dtimer: an operator has set max_events to %d", count, extra={"dtimer_listener": state.hostname})
    return dict(ok(f"max_events is {count}"))


@control_command()
def dtimer_pause(state: Any, **_: Any) -> dict[str, Any]:
    """Let the worker fire nothing until dtimer_resume; other workers go on."""
    dispatcher = _dispatcher(state)
    if dispatcher is None:
        return dict(nok(NO_TIMER))
    dispatcher.pause_by_operator()
    return dict(ok("paused: it fires nothing until dtimer_resume, or a restart"))


@control_command()
def dtimer_resume(state: Any, **_: Any) -> dict[str, Any]:
    """Let the worker fire again."""
    dispatcher = _dispatcher(state)
    if dispatcher is None:
        return dict(nok(NO_TIMER))
    if state.consumer.controller.blueprint.state != RUN:
        return dict(nok("the worker shuts down"))
    dispatcher.resume_by_operator()
    return dict(ok("it fires"))


@inspect_command(alias="dump_schedule")
def scheduled(state: Any, **options: Any) -> list[dict[str, Any]]:
    """List of currently scheduled ETA/countdown tasks, and of the timer's that wait for a slot."""
    dispatcher = _dispatcher(state)
    claimed = [] if dispatcher is None else [_row(entry, state.hostname) for entry in dispatcher.claimed()]
    return [*NATIVE(state, **options), *claimed]


def _row(entry: Entry, hostname: str) -> dict[str, Any]:
    """An event as Celery shows a request that it holds until its eta; it has no request yet."""
    delivery, message = entry.delivery, entry.message
    headers = message.headers
    return {
        "eta": delivery.due_at.isoformat(),
        "priority": message.properties.get("priority"),
        "request": {
            "id": delivery.id,
            # Whatever a message's sender has put there: a reply is no place for half a megabyte.
            **{name: legible(headers.get(of) or "") for name, of in (("name", "task"), ("type", "task"))},
            **{name: legible(headers.get(f"{name}repr") or "") for name in ("args", "kwargs")},
            "hostname": hostname,
            "time_start": None,
            "acknowledged": False,
            "delivery_info": {
                "exchange": message.exchange,
                "routing_key": message.routing_key,
                "priority": message.properties.get("priority"),
                "redelivered": delivery.redeliveries > 0,
            },
            "worker_pid": None,
        },
    }
