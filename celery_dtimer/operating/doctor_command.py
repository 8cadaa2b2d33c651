"""``celery dtimer doctor``: what is wrong, what comes of it, and what to do; and a probe of a worker's progress."""

import json
from dataclasses import asdict
from typing import Any

import click
from celery.bin.base import CeleryCommand, CeleryOption

from celery_dtimer.operating.commands import answering, dtimer
from celery_dtimer.operating.doctor import examine
from celery_dtimer.operating.liveness import TIMEOUT, look
from celery_dtimer.operating.printing import counted, printable

HEALTHY, FOUND, NOT_CHECKED = 0, 1, 2


@dtimer.command(cls=CeleryCommand)
@click.option(
    "--live",
    cls=CeleryOption,
    help_group="Probe",
    is_flag=True,
    help="Only ask whether a worker's listener progresses.",
)
@click.option(
    "-d", "--destination", cls=CeleryOption, help_group="Probe", help="Worker to ask; by default those of this host."
)
@click.option(
    "-t",
    "--timeout",
    cls=CeleryOption,
    help_group="Probe",
    type=click.FloatRange(0.1),
    default=TIMEOUT,
    show_default=True,
    help="Longest wait for the answers, in seconds.",
)
@click.option(
    "--stuck-after",
    cls=CeleryOption,
    help_group="Probe",
    type=click.FloatRange(1),
    metavar="SECONDS",
    help="A listener without a round for so long is stuck: 30, or three times dtimer_poll_interval if that is more.",
)
@answering
def doctor(
    ctx: Any, live: bool, destination: str | None, timeout: float, stuck_after: float | None, as_json: bool
) -> None:
    """Look for what is wrong with the timer. Status 0: healthy, 1: findings, 2: could not check."""
    if live:
        _live(ctx, destination, timeout, stuck_after, as_json=as_json)
        return
    diagnosis = examine(ctx.obj.app)
    if as_json:
        ctx.obj.echo(json.dumps(asdict(diagnosis)))
    else:
        for finding in diagnosis.findings:
            ctx.obj.echo(f"{finding.severity.upper()} {finding.name}: {printable(finding.found)}")
            ctx.obj.echo(f"    {finding.consequence} {finding.remedy}")
        for check in diagnosis.not_checked:
            ctx.obj.echo(f"not checked: {check.name}: {printable(check.reason)}")
        asked = diagnosis.workers
        answered = "no worker could be asked" if asked is None else f"{counted(len(asked), 'worker')} answered"
        ctx.obj.echo(f"{counted(len(diagnosis.findings), 'finding')}; {answered}")
    if diagnosis.findings:
        ctx.exit(FOUND)
    if not diagnosis.reachable:
        ctx.exit(NOT_CHECKED)


def _live(ctx: Any, destination: str | None, timeout: float, stuck_after: float | None, *, as_json: bool) -> None:
    probe = look(ctx.obj.app, destination, timeout=timeout, limit=stuck_after)
    status = FOUND if probe.stuck else HEALTHY if probe.workers else NOT_CHECKED
    if as_json:
        ctx.obj.echo(json.dumps({"live": status == HEALTHY, **asdict(probe)}))
    elif probe.stuck:
        ctx.obj.echo(f"no round for more than {probe.limit:g} s: {printable(', '.join(probe.stuck))}")
    elif probe.silent:
        ctx.obj.echo(f"live: {printable(', '.join(probe.silent))} does not answer, and its listener makes rounds")
    else:
        ctx.obj.echo("live" if probe.workers else "no worker with a timer answers")
    ctx.exit(status)
