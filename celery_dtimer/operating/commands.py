"""What the commands of ``celery -A proj dtimer`` share: their group, and how each of them answers."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click
from celery.bin.base import CeleryOption, handle_preload_options

from celery_dtimer.errors import DTimerError
from celery_dtimer.operating.printing import printable


@click.group(name="dtimer")
def dtimer() -> None:
    """Look at the delayed tasks that wait in the timer, and steer them."""


def answering(command: Callable[..., Any]) -> Any:
    """What every command has: ``--json``, Celery's own options, and an error of ours as one line and status 1."""

    @click.option("--json", "as_json", cls=CeleryOption, help_group="Output", is_flag=True, help="Answer in JSON.")
    @click.pass_context
    @handle_preload_options
    @wraps(command)
    def answered(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except DTimerError as exc:
            raise click.ClickException(printable(exc)) from exc

    return answered
