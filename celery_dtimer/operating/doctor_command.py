"""``celery dtimer doctor``: what is wrong, what comes of it, and what to do; and a probe of a worker's progress."""

import json
import socket
from dataclasses import asdict
from typing import Any

import click
from celery.bin.base import CeleryCommand, CeleryOption

from celery_dtimer.extension import extension_of
from celery_dtimer.operating.commands import answering, dtimer
from celery_dtimer.operating.doctor import answers, examine
from celery_dtimer.operating.doctor_workers import STUCK, is_stuck
from celery_dtimer.operating.printing import printable
from celery_dtimer.operating.workers import timers_of_workers

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
@answering
def doctor(ctx: Any, live: bool, destination: str | None, as_json: bool) -> None:
    """Look for what is wrong with the timer. Status 0: healthy, 1: findings, 2: could not check."""
    if live:
        _live(ctx, destination, as_json=as_json)
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
        workers = (
            "no worker could be asked" if diagnosis.workers is None else f"{len(diagnosis.workers)} workers answered"
        )
        ctx.obj.echo(f"{len(diagnosis.findings)} findings; {workers}")
    if diagnosis.findings:
        ctx.exit(FOUND)
    if not diagnosis.reachable:
        ctx.exit(NOT_CHECKED)


def _live(ctx: Any, destination: str | None, *, as_json: bool) -> None:
    app = ctx.obj.app
    reports = timers_of_workers(app, [destination] if destination else None)
    host = socket.gethostname()
    asked = {
        n: r for n, r in (reports or {}).items() if n == destination or (not destination and n.endswith(f"@{host}"))
    }
    # A restart of the worker does not bring Redis back.
    stuck = sorted(name for name, report in asked.items() if is_stuck(report)) if answers(extension_of(app)) else []
    status = FOUND if stuck else HEALTHY if asked else NOT_CHECKED
    if as_json:
        ctx.obj.echo(json.dumps({"live": status == HEALTHY, "workers": sorted(asked), "stuck": stuck}))
    elif stuck:
        ctx.obj.echo(f"no round for more than {STUCK:g} s: {printable(', '.join(stuck))}")
    else:
        ctx.obj.echo("live" if asked else "no worker with a timer answers")
    ctx.exit(status)
