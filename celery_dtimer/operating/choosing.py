"""Tasks that a command takes together: those with a tag, or of a name."""

import json
from collections.abc import Callable
from typing import Any

import click
from celery.bin.base import CeleryOption

from celery_dtimer.operating.printing import printable
from celery_dtimer.operating.progress import progress
from celery_dtimer.timer.events import Answer, State

#: Ids that are named when something was not done; all are in the JSON.
MOST_NAMED = 20

tag_option = click.option(
    "--tag", cls=CeleryOption, help_group="Choice", metavar="TAG", help="Only tasks with this tag."
)
name_option = click.option(
    "--task", cls=CeleryOption, help_group="Choice", metavar="NAME", help="Only tasks of this name."
)
ask_option = click.option(
    "--yes", cls=CeleryOption, help_group="Change", is_flag=True, help="Do not ask, with --tag or --task."
)


def is_one(task_id: str | None, tag: str | None, task: str | None = None) -> bool:
    """Whether a command is about one id, and not about a tag or a name; refuse both, and none."""
    if (task_id is None) == (tag is None and task is None):
        raise click.UsageError("give an ID, or --tag or --task, and not both")
    return task_id is not None


def change_many(
    ctx: Any, act: Callable[[bool], list[Answer]], become: str, *, yes: bool, dry_run: bool, as_json: bool
) -> None:
    """Ask, change, and say of how many tasks it was done; status 1 if workers have some of them."""
    there = None
    if not yes and not dry_run:
        there = sum(map(bool, act(True)))
        if there:
            click.confirm(f"{there} tasks become {become}. Go on?", abort=True, err=True)
    with progress(ctx, "tasks", there, as_json=as_json):
        answers = act(dry_run)
    done = [answer.id for answer in answers if answer]
    leased = [answer.id for answer in answers if not answer and answer.state is State.LEASED]
    if as_json:
        ctx.obj.echo(json.dumps({"done": len(done), "ids": done, "leased": leased, "dry_run": dry_run}))
    else:
        ctx.obj.echo(f"{len(done)} tasks {'would be' if dry_run else 'are'} {become}")
        for task_id in leased[:MOST_NAMED]:
            ctx.obj.error(f"{printable(task_id)} is in a worker's hands; nothing was changed")
        if len(leased) > MOST_NAMED:
            ctx.obj.error(f"... and {len(leased) - MOST_NAMED} more are in workers' hands")
    if leased:
        ctx.exit(1)
