"""A progress bar for a command that takes many events: on a terminal's standard error, by rich (the extra ``cli``)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery_dtimer.operating.tables import terminal
from celery_dtimer.timer.storing.progress import telling


@contextmanager
def progress(ctx: Any, doing: str, total: int | None, *, as_json: bool) -> Iterator[None]:
    """Show how far the loop within is; nothing with ``--json``, in a pipe, or without rich.

    Args:
        ctx: The command's context.
        doing: What is done, in words of ours.
        total: Events that there are to do, or None if that is unknown.
        as_json: Whether the answer is JSON.
    """
    console = None if as_json else terminal(ctx, err=True)
    if console is None:
        yield
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(doing, total=total)
        with telling(lambda count: bar.advance(task, count)):
            yield
