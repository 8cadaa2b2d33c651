"""``cancel``, ``move`` and ``run-now``: end a task that waits, or let it run at another time."""

import json
import time
from collections.abc import Container
from datetime import datetime
from typing import Any

import click
from celery.bin.base import CeleryCommand, CeleryOption

from celery_dtimer.operating.choosing import ask_option, change_many, is_one, name_option, tag_option
from celery_dtimer.operating.commands import answering, dtimer
from celery_dtimer.operating.printing import printable
from celery_dtimer.posting.eta import eta_of
from celery_dtimer.posting.task_timer import get_timer
from celery_dtimer.timer.events import Answer, EventInfo, State
from celery_dtimer.timer.times import delay_to_ms, eta_to_ms, ms_to_datetime

if_due_at_option = click.option(
    "--if-due-at",
    cls=CeleryOption,
    help_group="Change",
    metavar="INSTANT",
    help="Only if the task is due at this instant still, as peek shows it.",
)
delay_option = click.option(
    "--delay", cls=CeleryOption, help_group="Time", type=float, metavar="SECONDS", help="Due in so many seconds."
)
eta_option = click.option(
    "--eta",
    cls=CeleryOption,
    help_group="Time",
    metavar="INSTANT",
    help="Due then: ISO 8601, in UTC without an offset.",
)

one_dry_run_option = click.option(
    "--dry-run", cls=CeleryOption, help_group="Change", is_flag=True, help="Change nothing, and say what would be so."
)


def instant_of(text: str | None, option: str) -> datetime | None:
    """Return the instant that an option has."""
    return None if text is None else ms_to_datetime(eta_of(text, option))


def check_one_option(delay: float | None, eta: str | None) -> None:
    """Refuse both a delay and an eta, and neither."""
    if (delay is None) == (eta is None):
        raise click.UsageError(f"give --delay or --eta, and {'one of them' if delay is None else 'not both'}")


@dtimer.command(cls=CeleryCommand)
@click.argument("task_id", metavar="[ID]", required=False)
@tag_option
@name_option
@if_due_at_option
@one_dry_run_option
@ask_option
@answering
def cancel(
    ctx: Any,
    task_id: str | None,
    tag: str | None,
    task: str | None,
    if_due_at: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Cancel the task ID, or all that wait or are parked and have a tag or a name. Status 0 only if none will run."""
    timer, condition = get_timer(ctx.obj.app), instant_of(if_due_at, "--if-due-at")
    if not is_one(task_id, tag, task):

        def act(dry: bool) -> list[Answer]:
            return timer.cancel_many(tag=tag, task=task, if_due_at=condition, dry_run=dry)

        change_many(ctx, act, "cancelled", yes=yes, dry_run=dry_run, as_json=as_json)
        return
    task_id = str(task_id)
    if dry_run:
        answer = _tried(timer.peek(task_id), condition, {State.PENDING, State.PARKED})
        _tell(ctx, task_id, answer, as_json, "would be cancelled", dry_run=True)
        return
    _tell(ctx, task_id, timer.cancel(task_id, if_due_at=condition), as_json, "is cancelled and will not run")


@dtimer.command(cls=CeleryCommand)
@click.argument("task_id", metavar="[ID]", required=False)
@tag_option
@name_option
@delay_option
@eta_option
@if_due_at_option
@one_dry_run_option
@ask_option
@answering
def move(
    ctx: Any,
    task_id: str | None,
    tag: str | None,
    task: str | None,
    delay: float | None,
    eta: str | None,
    if_due_at: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Let the task ID be due at another time, or all that wait and have a tag or a name.

    Status 1, and nothing changed, if it does not wait.
    """
    one = is_one(task_id, tag, task)
    check_one_option(delay, eta)
    timer, condition, instant = get_timer(ctx.obj.app), instant_of(if_due_at, "--if-due-at"), instant_of(eta, "--eta")
    if not one:
        to = {"delay": delay} if instant is None else {"eta": instant}

        def act(dry: bool) -> list[Answer]:
            return timer.change_many(**to, tag=tag, task=task, if_due_at=condition, dry_run=dry)

        when = f"in {delay:g} s" if instant is None else f"at {_shown(instant)}"
        change_many(ctx, act, f"due {when}", yes=yes, dry_run=dry_run, as_json=as_json)
        return
    task_id = str(task_id)
    if dry_run:
        due_at = instant or ms_to_datetime(round(time.time() * 1000) + delay_to_ms(delay or 0))
        answer = _tried(timer.peek(task_id), condition, {State.PENDING}, due_at)
    elif instant is not None:
        answer = timer.change_eta(task_id, instant, if_due_at=condition)
    else:
        answer = timer.change_delay(task_id, delay or 0, if_due_at=condition)
    _tell(ctx, task_id, answer, as_json, f"{_is(dry_run)} due at {_shown(answer.due_at)}", dry_run=dry_run)
    if answer and not as_json:
        ctx.obj.echo(f"    it {'is' if dry_run else 'was'} due at {_shown(answer.was_due_at)}")


@dtimer.command(cls=CeleryCommand, name="run-now")
@click.argument("task_id", metavar="[ID]", required=False)
@tag_option
@name_option
@if_due_at_option
@one_dry_run_option
@ask_option
@answering
def run_now(
    ctx: Any,
    task_id: str | None,
    tag: str | None,
    task: str | None,
    if_due_at: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Let the task ID run now, or all that wait and have a tag or a name.

    Status 1, and nothing changed, if it does not wait.
    """
    timer, condition = get_timer(ctx.obj.app), instant_of(if_due_at, "--if-due-at")
    if not is_one(task_id, tag, task):

        def act(dry: bool) -> list[Answer]:
            return timer.change_many(delay=0, tag=tag, task=task, if_due_at=condition, dry_run=dry)

        change_many(ctx, act, "due now", yes=yes, dry_run=dry_run, as_json=as_json)
        return
    task_id = str(task_id)
    if dry_run:
        answer = _tried(timer.peek(task_id), condition, {State.PENDING}, ms_to_datetime(round(time.time() * 1000)))
    else:
        answer = timer.run_now(task_id, if_due_at=condition)
    _tell(ctx, task_id, answer, as_json, f"{_is(dry_run)} due now", dry_run=dry_run)


def _is(dry_run: bool) -> str:
    return "would be" if dry_run else "is"


def _tried(
    info: EventInfo | None, condition: datetime | None, states: Container[State], due_at: datetime | None = None
) -> Answer:
    """Return the answer of a change of a task in one of some states, without the change."""
    if info is None:
        return Answer()
    done = info.state in states and (condition is None or eta_to_ms(condition) == eta_to_ms(info.due_at))
    return Answer(
        done=done,
        state=info.state,
        due_at=due_at if done and due_at is not None else info.due_at,
        was_due_at=info.due_at,
        queue=info.queue,
        holder=info.holder,
        since=info.until if info.state is State.PARKED else None,
        until=info.until if info.state is State.LEASED else None,
        reason=info.reason,
    )


def _tell(ctx: Any, task_id: str, answer: Answer, as_json: bool, done: str, *, dry_run: bool = False) -> None:
    """Print an answer; status 1 if nothing was done."""
    if as_json:
        ctx.obj.echo(json.dumps({**answer.as_dict(), "id": task_id, "dry_run": dry_run}))
    elif answer:
        ctx.obj.echo(f"{printable(task_id)} {done}")
    else:
        ctx.obj.error(f"{printable(task_id)} {printable(_why_not(answer))}")
    if not answer:
        ctx.exit(1)


def _why_not(answer: Answer) -> str:
    """Say what kept a task from being changed."""
    if answer.state is None:
        return "is unknown: it has run, was cancelled, or was never posted"
    if answer.state is State.LEASED:
        return f"is in the hands of {answer.holder} since {_shown(answer.since)}; nothing was changed"
    if answer.state is State.PARKED:
        return f"is parked since {_shown(answer.since)}, and does not wait; nothing was changed: {answer.reason}"
    return f"is due at {_shown(answer.due_at)}, and not then; nothing was changed"


def _shown(instant: datetime | None) -> str:
    return "an unknown time" if instant is None else instant.isoformat()
