"""``parked``, ``replay`` and ``drop``: what could not be delivered, and what becomes of it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import click
from celery.bin.base import CeleryCommand, CeleryOption

from celery_dtimer.operating.choosing import name_option, tag_option
from celery_dtimer.operating.commands import answering, dtimer
from celery_dtimer.operating.printing import WIDTH, brief, counted, printable, shortened
from celery_dtimer.operating.progress import progress
from celery_dtimer.operating.tables import Cell, Head, Whole, show
from celery_dtimer.posting.task_events import ParkedTask
from celery_dtimer.posting.task_timer import get_timer
from celery_dtimer.timer.parked import Unparked
from celery_dtimer.timer.parking import MAX_PARKED

#: Ids that are named when something was not done; all are in the JSON.
MOST_NAMED = 20

HEADS = (Head("PARKED (UTC)"), Head("TASK"))

reason_option = click.option(
    "--reason", cls=CeleryOption, help_group="Choice", metavar="TEXT", help="Only those with this text in their reason."
)
all_option = click.option(
    "--all", "everything", cls=CeleryOption, help_group="Choice", is_flag=True, help="All that is parked."
)
yes_option = click.option("--yes", cls=CeleryOption, help_group="Change", is_flag=True, help="Do not ask.")
dry_run_option = click.option(
    "--dry-run", cls=CeleryOption, help_group="Change", is_flag=True, help="Change nothing, and say how many there are."
)


@dtimer.command(cls=CeleryCommand)
@click.argument("task_id", metavar="[ID]", required=False)
@click.option(
    "-n",
    "--limit",
    cls=CeleryOption,
    help_group="Page",
    type=click.IntRange(1, MAX_PARKED),
    default=20,
    show_default=True,
    help="Show at most so many tasks.",
)
@click.option("--after", cls=CeleryOption, help_group="Page", metavar="CURSOR", help="The page behind this one.")
@tag_option
@name_option
@reason_option
@answering
def parked(
    ctx: Any,
    task_id: str | None,
    limit: int,
    after: str | None,
    tag: str | None,
    task: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """List the parked tasks, the newest first; or say all about those of an ID.

    Status 1 if none of the ID is parked.
    """
    timer = get_timer(ctx.obj.app)
    page = timer.parked(limit, after=after, tag=tag, task=task, reason=reason, id=task_id)
    if as_json:
        ctx.obj.echo(json.dumps([event.as_dict() for event in page]))
    elif task_id is not None:
        _show(ctx, task_id, page)
    if task_id is not None and not page:
        ctx.exit(1)
    if as_json or task_id is not None:
        return
    if page and not show(ctx, HEADS, map(_cells, page)):
        ctx.obj.echo(f"{'PARKED (UTC)':<19}  TASK")
        for event in page:
            for line in _lines(event):
                ctx.obj.echo(line)
    there = timer.count().parked
    filtered = tag is not None or task is not None or reason is not None
    ctx.obj.echo(f"{len(page)} shown, {there} parked in all" if filtered else f"{len(page)} of {there} parked")
    if len(page) == limit:
        ctx.obj.echo(f"the next page: --after {page[-1].cursor}")


def _why(event: ParkedTask) -> str:
    times = f", redelivered {event.redeliveries} times" if event.redeliveries else ""
    queue = shortened(printable(event.queue), 20)
    return f"queue {queue}{times}: {brief(event.reason)}"


def _error(event: ParkedTask) -> list[str]:
    """A line with the last error, if there is one; what can't be decoded has it in the reason."""
    return [] if event.error is None or event.error in event.reason else [f"last error: {brief(event.error)}"]


def _cells(event: ParkedTask) -> list[Cell]:
    """One task of a page, as a row of a table."""
    return [
        f"{event.parked_at:%Y-%m-%d %H:%M:%S}",
        ["?" if event.task is None else event.task, Whole(event.id), _why(event), *_error(event)],
    ]


def _lines(event: ParkedTask) -> Iterator[str]:
    """One task of a page, in lines that fit a terminal but for a long id, which is never shortened."""
    task = printable("?" if event.task is None else event.task)
    yield shortened(f"{event.parked_at:%Y-%m-%d %H:%M:%S}  {task}", WIDTH)
    yield f"    {printable(event.id)}"
    yield shortened(f"    {_why(event)}", WIDTH)
    for error in _error(event):
        yield shortened(f"    {error}", WIDTH)


def _show(ctx: Any, task_id: str, page: list[ParkedTask]) -> None:
    """All that is known of the parked tasks of one id, nothing shortened."""
    if not page:
        ctx.obj.error(f"{printable(task_id)} is not parked")
    for event in page:
        facts = event.as_dict()
        for name in ("id", "task", "queue", "due_at", "parked_at", "holder", "deliveries", "reason", "error"):
            ctx.obj.echo(f"{name + ':':<11} {printable('-' if facts[name] is None else str(facts[name]))}")
        if event is not page[-1]:
            ctx.obj.echo("")


@dtimer.command(cls=CeleryCommand)
@click.argument("ids", metavar="[ID ...]", nargs=-1)
@tag_option
@name_option
@reason_option
@all_option
@click.option(
    "--rate",
    cls=CeleryOption,
    help_group="Change",
    type=float,
    help="They are due one after the other, so many a second.",
)
@click.option(
    "--delay",
    cls=CeleryOption,
    help_group="Change",
    type=float,
    default=0.0,
    metavar="SECONDS",
    help="The first is due in so many seconds.",
)
@yes_option
@dry_run_option
@answering
def replay(
    ctx: Any,
    ids: tuple[str, ...],
    tag: str | None,
    task: str | None,
    reason: str | None,
    everything: bool,
    rate: float | None,
    delay: float,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make parked tasks pending again: those of some ids, of a tag, a name or a reason, or all.

    Asks, unless ids are given. Status 1 if one of them is not pending again.
    """
    timer = get_timer(ctx.obj.app)

    def act(dry: bool) -> Unparked:
        return timer.replay_many(
            ids or None, tag=tag, task=task, reason=reason, all=everything, rate=rate, delay=delay, dry_run=dry
        )

    _check_choice(ids, tag, task, reason, everything)
    _settle(ctx, act, yes or bool(ids), dry_run, as_json, "pending again")


@dtimer.command(cls=CeleryCommand)
@click.argument("ids", metavar="[ID ...]", nargs=-1)
@tag_option
@name_option
@reason_option
@all_option
@yes_option
@dry_run_option
@answering
def drop(
    ctx: Any,
    ids: tuple[str, ...],
    tag: str | None,
    task: str | None,
    reason: str | None,
    everything: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """End parked tasks for good: those of some ids, of a tag, a name or a reason, or all. Asks.

    Status 1 if one of them was not parked.
    """
    timer = get_timer(ctx.obj.app)

    def act(dry: bool) -> Unparked:
        return timer.drop_many(ids or None, tag=tag, task=task, reason=reason, all=everything, dry_run=dry)

    _check_choice(ids, tag, task, reason, everything)
    _settle(ctx, act, yes, dry_run, as_json, "dropped")


def _check_choice(
    ids: tuple[str, ...], tag: str | None, task: str | None, reason: str | None, everything: bool
) -> None:
    if bool(ids) + (tag is not None or task is not None or reason is not None) + everything != 1:
        raise click.UsageError("give ids, or --tag, --task and --reason, or --all, and no other of these")


def _settle(ctx: Any, act: Callable[[bool], Unparked], yes: bool, dry_run: bool, as_json: bool, become: str) -> None:
    """Ask, act, and say what was done."""
    there = None
    if not yes and not dry_run:
        with progress(ctx, "counted", None, as_json=as_json):
            there = act(True).done
        if there:
            click.confirm(f"{counted(there, 'parked task', 'will be')} {become}. Go on?", abort=True, err=True)
    with progress(ctx, "parked tasks", there, as_json=as_json):
        answer = act(dry_run)
    if as_json:
        ctx.obj.echo(json.dumps({**asdict(answer), "dry_run": dry_run}))
    else:
        ctx.obj.echo(f"{counted(answer.done, 'task', 'would be' if dry_run else 'are')} {become}")
        for why, ids in (
            ("stays parked: another task of this id is pending or being delivered", answer.in_use),
            ("is not parked", answer.unknown),
        ):
            for task_id in ids[:MOST_NAMED]:
                ctx.obj.error(f"{printable(task_id)} {why}")
            if len(ids) > MOST_NAMED:
                ctx.obj.error(f"... and {len(ids) - MOST_NAMED} more: it {why}")
    if answer.in_use or answer.unknown:
        ctx.exit(1)
