"""The first page, what keeps it up to date, and the pages of holds and of health."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from celery_dtimer.extension import extension_of
from celery_dtimer.operating.backlog import read_backlog
from celery_dtimer.operating.gauges import QueueGauges
from celery_dtimer.timer.legible import legible
from celery_dtimer.web.histogram import RANGES, draw
from celery_dtimer.web.live import Snapshot

if TYPE_CHECKING:
    from celery_dtimer.web.console import Desk

#: Seconds between two looks for something new to send, and after which a page connects anew.
LOOK, LONGEST = 0.25, 600.0

#: The parts of the first page that are sent again.
PARTS = ("tiles", "chart", "soonest", "workers", "queues")

#: Queues in the table; the rest is in the last line.
MOST_QUEUES = 50


def desk_of(request: Request) -> "Desk":
    """Return what all pages share."""
    desk: Desk = request.app.state.desk
    return desk


def _range(request: Request) -> str:
    name = request.query_params.get("range", "hour")
    if name not in RANGES:
        raise HTTPException(400, f"range must be one of {', '.join(RANGES)}, got {legible(name, 100)!r}")
    return name


async def overview(request: Request) -> Response:
    """The coming hour, day or month, and who works on it."""
    desk, name = desk_of(request), _range(request)
    snapshot = await run_in_threadpool(desk.watch.look, name)
    if snapshot.error is not None:
        raise snapshot.error
    return desk.page(request, "now.html", ranges=RANGES, **_values(desk, snapshot))


async def live(request: Request) -> Response:
    """The parts of the first page, again and again, as server-sent events."""
    desk, name = desk_of(request), _range(request)
    if not desk.live:
        raise HTTPException(404, "this console sends no events")

    async def events() -> AsyncIterator[bytes]:
        seen, until = 0, time.monotonic() + LONGEST
        yield b"retry: 3000\n\n"
        with desk.watch.watching(name):
            while time.monotonic() < until:
                latest = desk.watch.latest(name)
                if latest is not None and latest[0] != seen:
                    seen = latest[0]
                    yield await run_in_threadpool(_told_once, desk, request, latest)
                await asyncio.sleep(LOOK)

    return StreamingResponse(events(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})


def _told_once(desk: "Desk", request: Request, latest: tuple[int, Snapshot]) -> bytes:
    """What all pages of a place are sent of a look: made once."""
    number, snapshot = latest
    place = (snapshot.range, request.scope.get("root_path", ""))
    made = desk.told.get(place)
    if made is None or made[0] != number:
        made = desk.told[place] = (number, f"data: {json.dumps(_told(desk, request, snapshot))}\n\n".encode())
    return made[1]


def _told(desk: "Desk", request: Request, snapshot: Snapshot) -> dict[str, Any]:
    """What a page is sent of a look."""
    if snapshot.error is not None:
        return {"away": legible(str(snapshot.error))}
    values = _values(desk, snapshot)
    return {
        "parts": {part: desk.render(request, f"parts/{part}.html", **values) for part in PARTS},
        "summary": desk.render(request, "parts/summary.html", **values).strip(),
    }


def _values(desk: "Desk", snapshot: Snapshot) -> dict[str, Any]:
    """What the parts of the first page are made of."""
    assert snapshot.gauges is not None  # noqa: S101 - a look without an error has them
    total = QueueGauges()
    for queue in snapshot.gauges.queues.values():
        for field in ("pending", "due", "overdue", "leased"):
            setattr(total, field, getattr(total, field) + getattr(queue, field))
    queues = sorted(snapshot.gauges.queues.items(), key=lambda item: (-item[1].pending - item[1].leased, item[0]))
    soonest = [(event, *desk.mask(event.task, event.args, event.kwargs)) for event in snapshot.soonest]
    histogram = draw(snapshot.range, snapshot.at, snapshot.counts)
    return {
        "now": snapshot.at,
        "range_name": snapshot.range,
        "gauges": snapshot.gauges,
        "total": total,
        "chart": histogram,
        "colours": {queue.name: queue.colour for queue in histogram.queues},
        "queue_rows": queues[:MOST_QUEUES],
        "queues_left": max(0, len(queues) - MOST_QUEUES),
        "soonest": soonest,
        "holds": snapshot.holds,
        "backlog": snapshot.backlog,
        "fleet": snapshot.fleet,
    }


async def holds(request: Request) -> Response:
    """What is held, and how to hold more; and the limit of what is claimed after an outage."""
    desk = desk_of(request)
    found = await run_in_threadpool(desk.timer.holds)
    backlog = await run_in_threadpool(read_backlog, extension_of(desk.app))
    return desk.page(request, "holds.html", holds=found, backlog=backlog, now=datetime.now(UTC))


async def health(request: Request) -> Response:
    """What the doctor finds."""
    desk = desk_of(request)
    diagnosis = await run_in_threadpool(desk.diagnosis)
    order = {"error": 0, "warning": 1}
    findings = sorted(diagnosis.findings, key=lambda finding: order.get(finding.severity, 2))
    return desk.page(request, "health.html", diagnosis=diagnosis, findings=findings, now=datetime.now(UTC))
