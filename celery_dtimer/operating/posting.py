"""``post``: a task of the app is posted from the command line."""

import json
from typing import Any

import click
from celery.bin.base import CeleryCommand, CeleryOption

from celery_dtimer.operating.commands import answering, dtimer
from celery_dtimer.operating.moving import check_one_option, delay_option, eta_option
from celery_dtimer.operating.printing import printable
from celery_dtimer.posting.task import post as post_task
from celery_dtimer.timer.events import ON_CONFLICT


@dtimer.command(cls=CeleryCommand)
@click.argument("task")
@delay_option
@eta_option
@click.option(
    "--args", "arguments", cls=CeleryOption, help_group="Task", metavar="JSON", default="[]", help="A JSON array."
)
@click.option("--kwargs", cls=CeleryOption, help_group="Task", metavar="JSON", default="{}", help="A JSON object.")
@click.option("-Q", "--queue", cls=CeleryOption, help_group="Task", help="Its queue, if not where it is routed to.")
@click.option("--id", "task_id", cls=CeleryOption, help_group="Task", help="Its id, if not a new one.")
@click.option(
    "--on-conflict",
    cls=CeleryOption,
    help_group="Task",
    type=click.Choice(list(ON_CONFLICT)),
    help="What a pending task of the same id means, if not what the task's own default is.",
)
@click.option("--tag", "tags", cls=CeleryOption, help_group="Task", multiple=True, metavar="TAG", help="A tag of it.")
@answering
def post(
    ctx: Any,
    task: str,
    delay: float | None,
    eta: str | None,
    arguments: str,
    kwargs: str,
    queue: str | None,
    task_id: str | None,
    on_conflict: str | None,
    tags: tuple[str, ...],
    as_json: bool,
) -> None:
    """Post the task TASK, to run after a delay or at an instant."""
    check_one_option(delay, eta)
    args, named = _read(arguments, "--args", list, "array"), _read(kwargs, "--kwargs", dict, "object")
    given = {"queue": queue, "task_id": task_id, "on_conflict": on_conflict, "tags": tags or None}
    options = {name: value for name, value in given.items() if value is not None}
    found = _task_named(ctx.obj.app, task)
    try:
        result = post_task(found, args, named, options, delay=delay, eta=eta)
    except TypeError as exc:
        # Celery compares the arguments with the task's own.
        raise click.ClickException(printable(exc)) from exc
    info = result.peek()
    due_at = None if info is None else info.due_at.isoformat()
    if as_json:
        ctx.obj.echo(json.dumps({"id": result.id, "due_at": due_at}))
    else:
        ctx.obj.echo(f"{printable(result.id)} is {'posted' if due_at is None else f'due at {due_at}'}")


def _read(text: str, option: str, kind: type, named: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError as exc:
        raise click.BadParameter(f"{option} must be a JSON {named}, got {printable(text)!s:.200}: {exc}") from exc
    if not isinstance(value, kind):
        raise click.BadParameter(f"{option} must be a JSON {named}, got {printable(text)!s:.200}")
    return value


def _task_named(app: Any, name: str) -> Any:
    if name not in app.tasks:
        app.loader.import_default_modules()
    if name not in app.tasks:
        raise click.ClickException(f"TASK must be the name of a task of the app, got {printable(name)}")
    return app.tasks[name]
