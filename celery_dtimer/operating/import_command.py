"""``import``: what ``export`` has written is stored, and what is stored already is left as it is."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import click
from celery.bin.base import CeleryCommand, CeleryOption

from celery_dtimer.errors import DTimerError
from celery_dtimer.extension import extension_of
from celery_dtimer.operating.commands import answering, dtimer
from celery_dtimer.operating.export_command import STANDARD
from celery_dtimer.operating.importing import Importer, OnConflict
from celery_dtimer.operating.printing import brief, counted, printable
from celery_dtimer.operating.progress import progress


@dtimer.command(name="import", cls=CeleryCommand)
@click.argument("file", default=STANDARD)
@click.option(
    "--on-conflict",
    cls=CeleryOption,
    help_group="Change",
    type=click.Choice(["keep", "replace", "error"]),
    default="keep",
    show_default=True,
    help="What a task of the same id in the timer means: it is kept, is replaced if it is pending, or is an error.",
)
@click.option(
    "--parked", cls=CeleryOption, help_group="Change", is_flag=True, help="Parked tasks too: they become pending."
)
@click.option(
    "--from-line",
    cls=CeleryOption,
    help_group="Change",
    type=click.IntRange(1),
    default=1,
    metavar="N",
    help="Leave out the lines before this one, as an interrupted import says.",
)
@click.option("--yes", cls=CeleryOption, help_group="Change", is_flag=True, help="Replace, and do not ask.")
@click.option("--dry-run", cls=CeleryOption, help_group="Change", is_flag=True, help="Change nothing.")
@answering
def import_(
    ctx: Any,
    file: str,
    on_conflict: OnConflict,
    parked: bool,
    from_line: int,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Store the tasks that export has written to FILE, by default those of the standard input.

    A task whose id is in the timer already is kept, so that this may be run again. Tasks that are due already fire at
    once: hold their queues first if they should not. Asks before it replaces. Status 1 if a line is refused.
    """
    if on_conflict == "replace" and not yes and not dry_run:
        if file == STANDARD:
            raise click.UsageError("--on-conflict replace of the standard input needs --yes")
        click.confirm("Pending tasks of the same ids are replaced. Go on?", abort=True, err=True)

    def refused(number: int, why: str) -> None:
        if not as_json:
            ctx.obj.error(f"line {number}: {brief(why)}")

    importer = Importer(
        extension_of(ctx.obj.app), on_conflict=on_conflict, parked=parked, dry_run=dry_run, on_refused=refused
    )
    try:
        with _opened(file) as stream, progress(ctx, "lines", None, as_json=as_json):
            report = importer.run(stream, from_line)
    except (DTimerError, KeyboardInterrupt) as exc:
        done = importer.report
        raise click.ClickException(
            f"{printable(exc) or 'interrupted'}. {counted(done.stored, 'task')} stored before; "
            f"go on with --from-line {max(from_line, done.next_line)}"
        ) from exc
    if as_json:
        told = {name: value for name, value in asdict(report).items() if name != "next_line"}
        ctx.obj.echo(json.dumps({**told, "dry_run": dry_run}))
    else:
        ctx.obj.echo(f"{counted(report.stored, 'task', 'would be' if dry_run else 'are')} stored")
        ctx.obj.echo(f"{counted(report.skipped, 'line', 'are')} skipped: known{'' if parked else ' or parked'} already")
        if report.refused:
            ctx.obj.echo(f"{counted(report.refused, 'line', 'are')} refused")
    if report.refused:
        ctx.exit(1)


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if file == STANDARD:
        yield sys.stdin.buffer
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115 - its own failure, and not that of what is done with it
    except OSError as exc:
        raise click.ClickException(f"can't read {printable(file)}: {printable(exc)}") from exc
    with stream:
        yield stream
