"""``top``: a live view of the timer and of its workers."""

import json
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import click
from celery.bin.base import CeleryCommand, CeleryOption

from celery_dtimer.extension import extension_of
from celery_dtimer.operating.commands import answering, dtimer
from celery_dtimer.operating.frames import Camera, Frame, drawing, lines
from celery_dtimer.operating.tables import terminal


@dtimer.command(cls=CeleryCommand)
@click.option(
    "--every",
    cls=CeleryOption,
    help_group="Frames",
    type=click.FloatRange(1, 3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Time from one frame to the next, 1 to 3600 s: the workers are asked for a second.",
)
@click.option("--once", cls=CeleryOption, help_group="Frames", is_flag=True, help="Show one frame, and end.")
@answering
def top(ctx: Any, every: float, once: bool, as_json: bool) -> None:
    """Show what the timer holds and what the workers do, again and again, until Ctrl-C.

    Where Redis or the broker is away, it says so and goes on. Status 1 of --once: Redis did not answer.
    """
    camera = Camera(extension_of(ctx.obj.app))
    console = None if as_json or once else terminal(ctx)
    try:
        for frame in _frames(camera, every, once=once, console=console):
            if as_json:
                ctx.obj.echo(json.dumps(frame.as_dict()))
            elif console is None:
                ctx.obj.echo("\n".join(lines(frame)) + ("" if once else "\n"))
            if once and frame.error is not None:
                ctx.exit(1)
    except KeyboardInterrupt:
        ctx.exit(0)


def _frames(camera: Camera, every: float, *, once: bool, console: Any) -> Iterator[Frame]:
    """Take frames, and draw them if there is a console."""
    with _live(console) as live:
        while True:
            began = time.monotonic()
            frame = camera.take()
            if live is not None:
                live.update(drawing(frame), refresh=True)
            yield frame
            if once:
                return
            time.sleep(max(0.0, began + every - time.monotonic()))


def _live(console: Any) -> Any:
    if console is None:
        return nullcontext()
    from rich.live import Live  # noqa: PLC0415 - an extra

    return Live(console=console, screen=True, auto_refresh=False)
