"""``hold``, ``resume`` and ``holds``: what no worker claims until it is resumed."""

import json
from typing import Any, Literal

import click
from celery.bin.base import CeleryCommand, CeleryOption

from celery_dtimer.operating.commands import answering, dtimer
from celery_dtimer.operating.printing import WIDTH, printable, shortened
from celery_dtimer.operating.tables import Head, Whole, show
from celery_dtimer.posting.task_timer import TaskTimer, get_timer
from celery_dtimer.timer.checks import check_queue, check_task
from celery_dtimer.timer.events import Hold

#: A queue or a task, as options name it.
Named = tuple[Literal["queue", "task"], str]

QUEUES = click.option(
    "-Q", "--queue", "queues", cls=CeleryOption, help_group="Holds", multiple=True, metavar="NAME", help="This queue."
)
TASKS = click.option(
    "--task", "tasks", cls=CeleryOption, help_group="Holds", multiple=True, metavar="NAME", help="This task."
)


@dtimer.command(cls=CeleryCommand)
@QUEUES
@TASKS
@click.option("--why", cls=CeleryOption, help_group="Holds", default="", help="The reason, for others.")
@click.option("--by", cls=CeleryOption, help_group="Holds", help="Who holds it, if not user@host.")
@answering
def hold(ctx: Any, queues: tuple[str, ...], tasks: tuple[str, ...], why: str, by: str | None, as_json: bool) -> None:
    """Let no worker claim the tasks of some queues, or those of some names, until they are resumed.

    Workers obey within a second; what they have claimed already still runs. Posts go on. A hold lasts in Redis.
    """
    timer = get_timer(ctx.obj.app)
    named = _named(queues, tasks)
    answers = []
    for what, name in named:
        is_new = timer.hold(queue=name, why=why, by=by) if what == "queue" else timer.hold(task=name, why=why, by=by)
        answers.append({"what": what, "name": name, "answer": "held" if is_new else "held before"})
        if not as_json:
            said = "is held" if is_new else "was held before; who holds it, since when and why is new"
            ctx.obj.echo(f"{what} {printable(name)} {said}")
    if as_json:
        ctx.obj.echo(json.dumps(answers))
    # Only now, since it may take its time.
    for what, name in named:
        if not _is_known(ctx.obj.app, timer, what, name):
            ctx.obj.error(f"the app has no {what} {printable(name)}: is it spelled right?")


@dtimer.command(cls=CeleryCommand)
@QUEUES
@TASKS
@click.option("--all", "everything", cls=CeleryOption, help_group="Holds", is_flag=True, help="All that is held.")
@click.option("--yes", cls=CeleryOption, help_group="Holds", is_flag=True, help="Do not ask.")
@answering
def resume(
    ctx: Any, queues: tuple[str, ...], tasks: tuple[str, ...], everything: bool, yes: bool, as_json: bool
) -> None:
    """Let the tasks of held queues, or of held names, be claimed again. Status 1 if one of them was not held.

    With --all, it asks. What has come due meanwhile is due at once.
    """
    timer = get_timer(ctx.obj.app)
    if everything and (queues or tasks):
        raise click.UsageError("give --all alone, or names")
    named = _all(timer) if everything else _named(queues, tasks)
    if everything and named and not yes:
        click.confirm(f"All that is held ({len(named)}) is resumed. Go on?", abort=True, err=True)
    answers = []
    for what, name in named:
        was_held = timer.resume(queue=name) if what == "queue" else timer.resume(task=name)
        answers.append({"what": what, "name": name, "answer": "resumed" if was_held else "not held"})
        if not as_json:
            say = ctx.obj.echo if was_held else ctx.obj.error
            say(f"{what} {printable(name)} {'is resumed' if was_held else 'was not held; nothing was changed'}")
    if as_json:
        ctx.obj.echo(json.dumps(answers))
    elif not named:
        ctx.obj.echo("nothing is held")
    if any(answer["answer"] == "not held" for answer in answers) and not everything:
        ctx.exit(1)


@dtimer.command(cls=CeleryCommand)
@answering
def holds(ctx: Any, as_json: bool) -> None:
    """List what is held: since when, by whom and why."""
    found = get_timer(ctx.obj.app).holds()
    if as_json:
        ctx.obj.echo(json.dumps([hold.as_dict() for hold in found]))
        return
    if not found:
        ctx.obj.echo("nothing is held")
        return
    if show(
        ctx,
        (Head("SINCE (UTC)"), Head("HELD")),
        ([since, [Whole(held), *notes]] for since, held, notes in map(_facts, found)),
    ):
        return
    ctx.obj.echo(f"{'SINCE (UTC)':<19}  HELD")
    for since, held, notes in map(_facts, found):
        # A long name is never shortened.
        ctx.obj.echo(f"{since}  {held}")
        for note in notes:
            ctx.obj.echo("    " + shortened(note, WIDTH - 4))


def _facts(each: Hold) -> tuple[str, str, list[str]]:
    """Return since when something is held, what, and notes on it."""
    by = f"by {printable(each.by)}: {printable(each.why)}" if each.why else f"by {printable(each.by)}"
    notes = [by] if each.complete else [by, "not everywhere: a hold or a resume was interrupted; do it again"]
    return f"{each.since:%Y-%m-%d %H:%M:%S}", f"{each.what} {printable(each.name)}", notes


def _named(queues: tuple[str, ...], tasks: tuple[str, ...]) -> list[Named]:
    """What the options name, checked before anything is changed."""
    if not queues and not tasks:
        raise click.UsageError("name a queue (-Q NAME) or a task (--task NAME)")
    named: list[Named] = [("queue", check_queue(name)) for name in dict.fromkeys(queues)]
    return named + [("task", check_task(name)) for name in dict.fromkeys(tasks)]


def _all(timer: TaskTimer) -> list[Named]:
    return [("queue" if each.what == "queue" else "task", each.name) for each in timer.holds()]


def _is_known(app: Any, timer: TaskTimer, what: str, name: str) -> bool:
    """Whether a name is one of the app's, as far as that can be told here."""
    if what == "queue":
        if name in app.amqp.queues:
            return True
        return any(name in part for store in timer.shards for part in store.queues("list of holds"))
    if name in app.tasks:
        return True
    try:
        app.loader.import_default_modules()
    except Exception:  # noqa: BLE001 - whatever a module of tasks raises where no worker is: the hold is made
        return True
    return name in app.tasks
