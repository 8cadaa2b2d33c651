"""The pages of many events, and of one."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread
from celery.backends.base import DisabledBackend
from celery.backends.rpc import RPCBackend
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from celery_dtimer.timer.checks import check_id
from celery_dtimer.timer.events import State
from celery_dtimer.web.forms import query_form
from celery_dtimer.web.messages import facts, payload_of
from celery_dtimer.web.now import desk_of
from celery_dtimer.web.searching import Wanted, search
from celery_dtimer.web.showing import event_path

if TYPE_CHECKING:
    from celery_dtimer.web.console import Desk

#: Seconds that the result backend has.
BACKEND = 2.0

#: Names that a field offers.
OFFERED = 500

#: Fields of an address that say what is looked for.
SEARCHED = ("state", "tag", "task", "queue", "from", "to", "reason")


async def events(request: Request) -> Response:
    """A page of events, and the fields to look for others."""
    desk, form = desk_of(request), query_form(request)
    if wanted_id := form.get("id").strip():
        return RedirectResponse(request.scope.get("root_path", "") + event_path(check_id(wanted_id)), 303)
    wanted = Wanted.of(form)
    found = await run_in_threadpool(search, desk.timer, wanted, form)
    queues = await run_in_threadpool(_queues, desk.timer)
    rows = [(row, *desk.mask(row.task, getattr(row, "args", ""), getattr(row, "kwargs", ""))) for row in found.rows]
    return desk.page(
        request,
        "events.html",
        found=found,
        rows=rows,
        wanted=wanted,
        form=form.kept(*SEARCHED),
        after=form.get("after"),
        states=list(State),
        queues=_offered(queues),
        tasks=_offered(name for name in list(desk.app.tasks) if not name.startswith("celery.")),
        now=datetime.now(UTC),
    )


def _queues(timer: Any) -> set[str]:
    return {name for store in timer.shards for part in store.queues("metrics") for name in part}


def _offered(names: Iterable[str]) -> list[str]:
    """The names that a field offers."""
    return sorted(name for name in names if name.isprintable())[:OFFERED]


async def event(request: Request) -> Response:
    """One event: what is stored of it, and its result."""
    desk = desk_of(request)
    event_id = check_id(request.path_params.get("id") or request.query_params.get("id", ""))
    info = await run_in_threadpool(desk.timer.peek, event_id)
    result = await _result(desk, event_id)
    now = datetime.now(UTC)
    if info is None:
        return desk.page(request, "unknown.html", 404, id=event_id, result=result, now=now)
    parked = await run_in_threadpool(desk.timer.parked, 1, id=event_id) if info.state is State.PARKED else []
    args, kwargs = desk.mask(info.task, info.args, info.kwargs)
    is_masked = (args, kwargs) != (info.args, info.kwargs)
    payload = None
    if "payload" in request.query_params:
        payload = ("", "The arguments of this task are masked.") if is_masked else payload_of(info)
    return desk.page(
        request,
        "event.html",
        info=info,
        parked=parked[0] if parked else None,
        args=args,
        kwargs=kwargs,
        is_masked=is_masked,
        payload=payload,
        facts=facts(info),
        result=result,
        now=now,
    )


async def _result(desk: "Desk", event_id: str) -> str | None:
    """Return the task's state in the result backend; None: there is none, or it does not answer."""

    def ask() -> str | None:
        backend = desk.app.backend
        # An rpc:// result is a message: reading it would take it from whoever waits.
        if isinstance(backend, DisabledBackend | RPCBackend):
            return None
        return str(backend.get_state(event_id))

    try:
        with anyio.fail_after(BACKEND):
            return await to_thread.run_sync(ask, abandon_on_cancel=True, limiter=desk.asking)
    except Exception:  # noqa: BLE001 - whatever a backend raises: the event is shown without
        return None
