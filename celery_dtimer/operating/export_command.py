"""``export``: what waits in the timer as JSON lines, for ``import`` or for people."""

import base64
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import click
from celery.bin.base import CeleryCommand, CeleryOption

from celery_dtimer.operating.commands import answering, dtimer
from celery_dtimer.operating.printing import printable
from celery_dtimer.operating.progress import progress
from celery_dtimer.posting.task_timer import get_timer
from celery_dtimer.timer.events import State
from celery_dtimer.timer.storing.exporting import Exported, exported
from celery_dtimer.timer.times import ms_to_datetime

#: Version of the lines: a reader refuses another.
VERSION = 1

#: The standard output, or the standard input.
STANDARD = "-"


@dtimer.command(name="export", cls=CeleryCommand)
@click.argument("file", default=STANDARD)
@click.option("--parked", cls=CeleryOption, help_group="Choice", is_flag=True, help="Parked tasks too.")
@click.option(
    "-Q", "--queue", "queues", cls=CeleryOption, help_group="Choice", multiple=True, help="Only those of this queue."
)
@click.option("--yes", cls=CeleryOption, help_group="Change", is_flag=True, help="Overwrite FILE, and do not ask.")
@answering
def export(ctx: Any, file: str, parked: bool, queues: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Write the pending tasks to FILE, one JSON object a line; by default to the standard output.

    It changes nothing. It reads page by page and is no snapshot: stop posts and workers for one. Tasks in the hands of
    workers are left out. What was written goes to the standard error, and to the standard output with a FILE.
    """
    timer = get_timer(ctx.obj.app)
    if file != STANDARD and Path(file).exists() and not yes:
        click.confirm(f"{printable(file)} exists. Overwrite it?", abort=True, err=True)
    counts = timer.count()
    total = None if queues else counts.pending + (counts.parked if parked else 0)
    written = {State.PENDING: 0, State.PARKED: 0}
    unreadable = 0
    with _opened(file) as stream, progress(ctx, "tasks", total, as_json=as_json):
        for event in exported(timer.shards, queues=queues or None, parked=parked):
            if not event.readable:
                unreadable += 1
                ctx.obj.error(f"{printable(event.id)} can't be read, and is left out")
                continue
            stream.write(json.dumps(line_of(event)) + "\n")
            written[event.state] += 1
    answer = {"pending": written[State.PENDING], "parked": written[State.PARKED], "unreadable": unreadable}
    told = (
        json.dumps(answer)
        if as_json
        else f"{answer['pending']} pending and {answer['parked']} parked tasks are written"
    )
    (ctx.obj.error if file == STANDARD else ctx.obj.echo)(told)
    if unreadable:
        ctx.exit(1)


def line_of(event: Exported) -> dict[str, Any]:
    """Return an event as a line has it: times in ISO 8601, in UTC."""
    line: dict[str, Any] = {
        "v": VERSION,
        "id": event.id,
        "state": event.state.value,
        "queue": event.queue,
        "due_at": ms_to_datetime(event.due_ms).isoformat(),
        "task": event.kind or None,
        "tags": list(event.tags),
        "max_redeliveries": event.max_redeliveries,
        "redeliveries": event.redeliveries,
        "payload": base64.b64encode(event.payload).decode(),
    }
    if event.state is State.PARKED:
        line |= {"reason": event.reason, "parked_at": ms_to_datetime(event.parked_ms).isoformat()}
    return line


@contextmanager
def _opened(file: str) -> Iterator[IO[str]]:
    """Open a file that appears when all is written, and that others can't read: it has the tasks' arguments."""
    if file == STANDARD:
        yield sys.stdout
        sys.stdout.flush()
        return
    part = Path(f"{file}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            yield stream
        part.replace(file)
    except BaseException as exc:
        with suppress(OSError):
            part.unlink()
        if isinstance(exc, OSError) and exc.filename is not None:
            raise click.ClickException(f"can't write {printable(file)}: {printable(exc)}") from exc
        raise
