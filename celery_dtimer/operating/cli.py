"""``celery -A proj dtimer ...``: look at what waits, and end it."""

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import click
from celery.bin.base import CeleryCommand, CeleryOption, handle_preload_options

from celery_dtimer import message
from celery_dtimer.errors import DTimerError
from celery_dtimer.extension import extension_of
from celery_dtimer.operating.adopt import Adoption, held_by_workers
from celery_dtimer.posting.install import get_timer
from celery_dtimer.timer.dtimer import MAX_PAGE
from celery_dtimer.timer.events import EventInfo

#: Columns of a page of upcoming tasks: a UUID, a time, and the rest of a line.
ROW = "{due:<23}  {due_in:>12}  {id:<36}  {task} {args} {kwargs}"


def _answering(command: Callable[..., Any]) -> Any:
    """What every command has: ``--json``, Celery's own options, and an error of ours as one line and status 1."""

    @click.option("--json", "as_json", cls=CeleryOption, help_group="Output", is_flag=True, help="Answer in JSON.")
    @click.pass_context
    @handle_preload_options
    @wraps(command)
    def answering(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except DTimerError as exc:
            raise click.ClickException(str(exc)) from exc

    return answering


@click.group(name="dtimer")
def dtimer() -> None:
    """Look at the delayed tasks that wait in the timer, and cancel them."""


@dtimer.command(cls=CeleryCommand)
@click.option(
    "-n",
    "--limit",
    cls=CeleryOption,
    help_group="Page",
    type=click.IntRange(1, MAX_PAGE),
    default=20,
    show_default=True,
    help="Show at most so many tasks.",
)
@click.option(
    "--skip",
    cls=CeleryOption,
    help_group="Page",
    type=click.IntRange(0),
    default=0,
    help="Leave out so many of the soonest.",
)
@click.option(
    "--within",
    cls=CeleryOption,
    help_group="Page",
    type=float,
    help="Only tasks that are due within so many seconds from now.",
)
@_answering
def upcoming(ctx: Any, limit: int, skip: int, within: float | None, as_json: bool) -> None:
    """List the tasks that wait, soonest first."""
    timer = get_timer(ctx.obj.app)
    page = timer.upcoming(duration=within, limit=limit, skip=skip, payloads=True)
    rows = [
        {
            "id": event.id,
            "due_at": event.due_at.isoformat(),
            "queue": event.queue,
            **_task(event.payload, event.id, event.queue),
        }
        for event in page
    ]
    if as_json:
        ctx.obj.echo(json.dumps(rows))
        return
    for row, event in zip(rows, page, strict=True):
        due = event.due_at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        shown = {name: _printable(value) for name, value in row.items()}
        ctx.obj.echo(ROW.format(**{**shown, "due": due, "due_in": _due_in(event.due_at)}))
    pending = timer.count(duration=within).pending
    ctx.obj.echo(f"{len(rows)} of {pending} pending")


@dtimer.command(cls=CeleryCommand)
@click.argument("task_id", metavar="ID")
@_answering
def peek(ctx: Any, task_id: str, as_json: bool) -> None:
    """Show where the task ID is: pending, leased or parked. Status 1 if the timer does not know it."""
    info = get_timer(ctx.obj.app).peek(task_id)
    if as_json:
        ctx.obj.echo(json.dumps(None if info is None else _facts(info)))
    elif info is None:
        ctx.obj.error(f"{task_id} is unknown: it has run, was cancelled, or was never posted")
    else:
        for name, value in _facts(info).items():
            if value is not None:
                ctx.obj.echo(f"{name + ':':<18}{_printable(value)}")
    if info is None:
        ctx.exit(1)


@dtimer.command(cls=CeleryCommand)
@click.argument("task_id", metavar="ID")
@_answering
def cancel(ctx: Any, task_id: str, as_json: bool) -> None:
    """Cancel the task ID. Status 0 only if it will not run."""
    answer = get_timer(ctx.obj.app).cancel(task_id)
    if as_json:
        ctx.obj.echo(json.dumps({"id": task_id, "answer": answer.value}))
    else:
        said = {
            "cancelled": "is cancelled and will not run",
            "delivered": "is in a worker's hands already; nothing was changed",
            "unknown": "is unknown: it has run, was cancelled, or was never posted",
        }
        (ctx.obj.echo if answer else ctx.obj.error)(f"{task_id} {said[answer.value]}")
    if not answer:
        ctx.exit(1)


@dtimer.command(cls=CeleryCommand)
@click.option(
    "-Q", "--queue", "queues", cls=CeleryOption, help_group="Messages", multiple=True, help="Only this queue."
)
@click.option(
    "--at-least",
    cls=CeleryOption,
    help_group="Messages",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Only tasks whose eta is so many seconds away.",
)
@click.option("--dry-run", cls=CeleryOption, help_group="Messages", is_flag=True, help="Change nothing.")
@_answering
def adopt(ctx: Any, queues: tuple[str, ...], at_least: float, dry_run: bool, as_json: bool) -> None:
    """Move tasks with an eta that wait in the broker into the timer.

    Each is stored in the timer before it leaves the broker, so that nothing is lost when this is ended half-way; run
    once more, it stores nothing twice. Tasks that a worker holds in its memory are left to it: a warm shutdown gives
    them back to the broker.
    """
    app = ctx.obj.app
    adoption = Adoption(extension_of(app), at_least=at_least, dry_run=dry_run)
    report = adoption.run(queues or tuple(app.amqp.queues.consume_from), held_by_workers(app))
    if as_json:
        ctx.obj.echo(json.dumps({**asdict(report), "dry_run": dry_run}))
    else:
        ctx.obj.echo(f"{len(report.adopted)} tasks {'would be' if dry_run else 'are now'} in the timer")
        ctx.obj.echo(f"{report.kept} messages stay in the broker: without an eta, or with one that is nearer")
        if report.held:
            ctx.obj.echo(f"{len(report.held)} tasks are held by workers, and left to them")
        for task_id, reason in report.failed:
            ctx.obj.error(f"{_printable(task_id)} can't be stored, and stays in the broker: {_printable(reason)}")
    if report.failed:
        ctx.exit(1)


def _facts(info: EventInfo) -> dict[str, Any]:
    """An event as a person or a script wants it: without the payload's bytes."""
    return {
        "id": info.id,
        "state": info.state.value,
        "due_at": info.due_at.isoformat(),
        "queue": info.queue,
        **_task(info.payload, info.id, info.queue),
        "redeliveries": info.redeliveries,
        "max_redeliveries": info.max_redeliveries,
        "holder": info.holder,
        "until": info.until.isoformat(),
        "reason": info.reason,
    }


def _task(payload: bytes | None, event_id: str, queue: str) -> dict[str, Any]:
    """The task's name and arguments, as far as the stored message tells; an event need not be a task's."""
    try:
        headers = message.decode(payload or b"", event_id, queue).headers
    except message.UnknownFormatError:
        headers = {}
    return {
        "task": headers.get("task", "?"),
        "args": headers.get("argsrepr", ""),
        "kwargs": headers.get("kwargsrepr", ""),
    }


def _printable(value: Any) -> str:
    """A value on one line, and with nothing in it that a terminal obeys: ids and arguments are anybody's."""
    text = str(value)
    return text if text.isprintable() else repr(text)[1:-1]


def _due_in(due_at: datetime) -> str:
    seconds = (due_at - datetime.now(UTC)).total_seconds()
    return f"in {seconds:.1f} s" if seconds >= 0 else f"{-seconds:.1f} s ago"
