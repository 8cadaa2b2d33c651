"""``celery -A proj dtimer ...``: look at what waits, and end it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from celery.bin.base import CeleryCommand, CeleryOption

from celery_dtimer.errors import DTimerError
from celery_dtimer.extension import extension_of
from celery_dtimer.operating import (  # noqa: F401 - they register commands
    catching_up,
    control,
    counting,
    doctor_command,
    export_command,
    exporter,
    holding,
    import_command,
    moving,
    parking,
    posting,
    top,
    web_command,
)
from celery_dtimer.operating.adopt import Adoption
from celery_dtimer.operating.choosing import name_option, tag_option
from celery_dtimer.operating.commands import answering, dtimer
from celery_dtimer.operating.printing import WIDTH, brief, columns, counted, printable, shortened, span
from celery_dtimer.operating.progress import progress
from celery_dtimer.operating.tables import Cell, Head, Whole, show
from celery_dtimer.operating.workers import broker_errors, check_broker, fired_queues, held_by_workers
from celery_dtimer.posting.task_timer import get_timer
from celery_dtimer.timer.connecting.hosts import without_password
from celery_dtimer.timer.stored import MAX_PAGE

#: A task in a page of upcoming ones. Its id stands on a line of its own, since it is never shortened.
ROW = "{due:<19}  {due_in:>10}  {task}"
SECOND = "    {id}  {notes}"
HEADS = (Head("DUE (UTC)"), Head("IN", "right"), Head("TASK"))

#: Characters of a value that peek shows to people; the JSON has them all.
MOST_PEEKED = 10_000


@dtimer.command(cls=CeleryCommand)
@click.option(
    "-n",
    "--limit",
    cls=CeleryOption,
    help_group="Page",
    type=click.IntRange(1, MAX_PAGE),
    default=20,
    show_default=True,
    help="Most tasks to show.",
)
@click.option(
    "--skip",
    cls=CeleryOption,
    help_group="Page",
    type=click.IntRange(0),
    default=0,
    help="Soonest tasks to leave out.",
)
@click.option(
    "--within",
    cls=CeleryOption,
    help_group="Page",
    type=click.FloatRange(0),
    help="Only tasks due within this time, in seconds.",
)
@tag_option
@name_option
@answering
def upcoming(
    ctx: Any, limit: int, skip: int, within: float | None, tag: str | None, task: str | None, as_json: bool
) -> None:
    """List the tasks that wait, soonest first."""
    timer = get_timer(ctx.obj.app)
    page = timer.upcoming(duration=within, limit=limit, skip=skip, tag=tag, task=task)
    fired = fired_queues(ctx.obj.app) if page else set()
    now = datetime.now(UTC)
    rows = [
        {
            **event.as_dict(),
            "overdue": event.due_at < now,
            "consumed": None if fired is None else event.queue in fired,
        }
        for event in page
    ]
    if as_json:
        ctx.obj.echo(json.dumps(rows))
        return
    if rows and not show(ctx, HEADS, (_cells(row, event.due_at, now) for row, event in zip(rows, page, strict=True))):
        ctx.obj.echo(ROW.format(due="DUE (UTC)", due_in="IN", task="TASK"))
        for row, event in zip(rows, page, strict=True):
            for line in _lines(row, event.due_at, now):
                ctx.obj.echo(line)
    pending = timer.count(duration=within).pending
    chosen = tag is not None or task is not None
    ctx.obj.echo(f"{len(rows)} shown, {pending} pending in all" if chosen else f"{len(rows)} of {pending} pending")
    if fired is None:
        ctx.obj.echo("whether workers consume the queues is unknown: the broker does not answer")


def _facts(row: dict[str, Any], due_at: datetime, now: datetime) -> tuple[str, str, str, str]:
    """Return when a task is due, in how long, its call, and notes on it."""
    seconds = (due_at - now).total_seconds()
    shown = {name: brief("?" if value is None else value) for name, value in row.items()}
    arguments = [shown[name] for name in ("args", "kwargs") if shown[name] not in {"()", "{}", ""}]
    notes = [f"queue {shortened(shown['queue'], 20)}"]
    if row["overdue"]:
        notes.append("overdue")
    if row["consumed"] is False:
        notes.append("no worker")
    due_in = ("-" if seconds <= -1 else "") + span(seconds)
    return due_at.strftime("%Y-%m-%d %H:%M:%S"), due_in, " ".join([shown["task"], *arguments]), ", ".join(notes)


def _cells(row: dict[str, Any], due_at: datetime, now: datetime) -> list[Cell]:
    """One task of a page, as a row of a table."""
    due, due_in, call, notes = _facts(row, due_at, now)
    return [due, due_in, [call, Whole(row["id"]), notes]]


def _lines(row: dict[str, Any], due_at: datetime, now: datetime) -> Iterator[str]:
    """One task of a page, in lines that fit a terminal, whatever is in it."""
    due, due_in, call, notes = _facts(row, due_at, now)
    line = ROW.format(due=due, due_in=due_in, task="")
    yield line + shortened(call, WIDTH - len(line))
    task_id = printable(row["id"])
    second = SECOND.format(id=task_id, notes=notes)
    if columns(second) > WIDTH:
        yield f"    {task_id}"
        second = SECOND.format(id="", notes=notes)
    yield second


@dtimer.command(cls=CeleryCommand)
@click.argument("task_id", metavar="ID")
@answering
def peek(ctx: Any, task_id: str, as_json: bool) -> None:
    """Show where the task ID is: pending, leased or parked. Status 1 if the timer does not know it."""
    info = get_timer(ctx.obj.app).peek(task_id)
    if as_json:
        ctx.obj.echo(json.dumps(None if info is None else info.as_dict()))
    elif info is None:
        ctx.obj.error(f"{printable(task_id)} is unknown: it has run, was cancelled, or was never posted")
    else:
        for name, value in info.as_dict().items():
            shown = ", ".join(value) if isinstance(value, list) else value
            if value is not None and value != []:
                ctx.obj.echo(f"{name + ':':<18}{brief(shown, MOST_PEEKED)}")
    if info is None:
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
    help="Only tasks whose eta is at least this far away, in seconds.",
)
@click.option("--dry-run", cls=CeleryOption, help_group="Messages", is_flag=True, help="Change nothing.")
@answering
def adopt(ctx: Any, queues: tuple[str, ...], at_least: float, dry_run: bool, as_json: bool) -> None:
    """Move tasks with an eta that wait in the broker into the timer.

    Each is stored in the timer before it leaves the broker, so that nothing is lost when this is ended half-way; run
    once more, it stores nothing twice. Tasks that a worker holds in its memory are left to it: a warm shutdown gives
    them back to the broker.
    """
    app = ctx.obj.app
    adoption = Adoption(extension_of(app), at_least=at_least, dry_run=dry_run)
    with _named(app):
        check_broker(app)
        held = held_by_workers(app)
        with progress(ctx, "messages", None, as_json=as_json):
            report = adoption.run(queues or tuple(app.amqp.queues.consume_from), held)
    if as_json:
        ctx.obj.echo(json.dumps({**asdict(report), "dry_run": dry_run}))
    else:
        ctx.obj.echo(f"{counted(len(report.adopted), 'task', 'would be' if dry_run else 'are')} in the timer")
        ctx.obj.echo(f"{counted(report.kept, 'message', 'stay')} in the broker: without an eta, or with a nearer one")
        if report.held:
            ctx.obj.echo(f"{counted(len(report.held), 'task', 'are')} held by workers")
        for reason, count in sorted(report.left.items()):
            ctx.obj.echo(f"{counted(count, 'message', 'stay')} in the broker: {printable(reason)}")
        for task_id, reason in report.failed:
            ctx.obj.error(f"{printable(task_id)} can't be stored, and stays in the broker: {printable(reason)}")
    if report.failed:
        ctx.exit(1)


@contextmanager
def _named(app: Any) -> Iterator[None]:
    """Name a broker that does not answer, or that refuses something, in one line."""
    try:
        yield
    except (DTimerError, click.ClickException):
        raise
    except KeyError as exc:
        raise click.ClickException(f"the app has no queue {printable(exc.args[0])}") from exc
    except broker_errors(app) as exc:
        where = printable(without_password(app.connection_for_read().as_uri()))
        raise click.ClickException(f"the broker {where} did not answer: {printable(exc)}") from exc
