"""Celery's own parsers, asked whether a command line is one."""

from typing import Any

import click
from celery import Celery
from celery.bin.base import CLIContext
from celery.bin.celery import celery


def parsed(words: list[str]) -> dict[str, Any]:
    """Parse the words of a command, and run nothing; return the parameters of each of its parts, by their names.

    Raises:
        click.UsageError: There is no such command, option or value.
    """
    assert words[0].rpartition("/")[2] == "celery", words
    app = Celery(set_as_current=False)
    command, name, rest, found = celery, "celery", words[1:], {}
    context = None
    while True:
        context = command.make_context(name, rest, parent=context, obj=CLIContext(app=app, no_color=True, workdir=None))
        found |= context.params
        if not isinstance(command, click.Group):
            return found
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
