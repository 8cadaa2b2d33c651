"""``catch-up``: how fast the fleet claims what is long overdue, as after an outage."""

import json
from collections.abc import Iterator
from typing import Any

import click
from celery.bin.base import CeleryCommand, CeleryOption

from celery_dtimer.extension import extension_of
from celery_dtimer.operating.backlog import Backlog, read_backlog
from celery_dtimer.operating.commands import answering, dtimer
from celery_dtimer.operating.printing import WIDTH, counted, printable, shortened, span
from celery_dtimer.posting.task_timer import get_timer
from celery_dtimer.timer.options import GIVEN_RATE

#: What may be given in place of a rate: there is no limit; what the setting says.
OFF, DEFAULT = "off", "default"

GROUP = "Limit"


@dtimer.command("catch-up", cls=CeleryCommand)
@click.argument("rate", required=False, metavar="[RATE|off|default]")
@click.option(
    "--after",
    cls=CeleryOption,
    help_group=GROUP,
    type=float,
    metavar="SECONDS",
    help="Of tasks that are overdue by more than this; by default what dtimer_catch_up_after says.",
)
@click.option("--why", cls=CeleryOption, help_group=GROUP, default="", help="The reason, for others.")
@click.option("--by", cls=CeleryOption, help_group=GROUP, help="Who sets it, if not user@host.")
@answering
def catch_up(ctx: Any, rate: str | None, after: float | None, why: str, by: str | None, as_json: bool) -> None:
    """Let the whole fleet claim RATE long overdue tasks a second at most; what is due now goes first.

    Workers obey within a second. The limit lasts in Redis, and overrides dtimer_catch_up_rate until `default` ends it;
    `off`: no limit. Without RATE: show what is so. Status 1: there was none to end.
    """
    extension, timer = extension_of(ctx.obj.app), get_timer(ctx.obj.app)
    if rate in (None, DEFAULT) and (after is not None or why or by is not None):
        raise click.UsageError("--after, --why and --by belong to a RATE, or to off")
    ended = True
    if rate == DEFAULT:
        ended = timer.forget_catch_up_limit()
    elif rate is not None:
        wanted = None if rate == OFF else _number(rate)
        timer.limit_catch_up(
            wanted, after=extension.settings.catch_up_after if after is None else after, why=why, by=by
        )
    backlog = read_backlog(extension)
    if as_json:
        ctx.obj.echo(json.dumps(_as_dict(backlog)))
    else:
        for line in lines_of(backlog):
            ctx.obj.echo(line)
        if not ended:
            ctx.obj.error("no limit was stored; nothing was changed")
    if not ended:
        ctx.exit(1)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        refusal = GIVEN_RATE.refusal(text)
        raise click.UsageError(f"{printable(refusal)}; or off, or default") from None


def lines_of(backlog: Backlog) -> Iterator[str]:
    """What is so, in lines that fit a terminal."""
    what = f"of what is overdue by more than {backlog.limit.after:g} s"
    stored = backlog.limit.stored
    source = "dtimer_catch_up_rate" if stored is None else "stored"
    yield (
        "no limit" if backlog.limit.rate is None else f"at most {backlog.limit.rate:g} tasks a second {what} ({source})"
    )
    if stored is not None:
        by = f"by {printable(stored.by)}: {printable(stored.why)}" if stored.why else f"by {printable(stored.by)}"
        yield shortened(f"    since {stored.since:%Y-%m-%d %H:%M:%S} UTC {by}", WIDTH)
        if not stored.complete:
            yield "    not everywhere: a change was interrupted; make it again"
    if backlog.seconds is None:
        yield f"    {counted(backlog.overdue, 'task', 'are')} overdue by more than {backlog.limit.after:g} s"
    else:
        to_go = span(backlog.seconds) if backlog.seconds >= 1 else "less than 1 s"
        rest = f": {to_go} to go" if backlog.overdue else ""
        yield f"    {counted(backlog.overdue, 'task', 'are')} held back{rest}"


def _as_dict(backlog: Backlog) -> dict[str, Any]:
    return {
        "rate": backlog.limit.rate,
        "after": backlog.limit.after,
        "stored": None if backlog.limit.stored is None else backlog.limit.stored.as_dict(),
        "overdue": backlog.overdue,
        "seconds": backlog.seconds,
    }
