"""``celery dtimer web``: the console in the browser."""

import errno
import os
import socket
from typing import Any

import click
from celery.bin.base import CeleryCommand, CeleryOption, handle_preload_options

from celery_dtimer.errors import DTimerError
from celery_dtimer.operating.commands import dtimer
from celery_dtimer.operating.printing import printable

#: Where the token may be too: command lines are seen by others.
TOKEN = "DTIMER_WEB_TOKEN"  # noqa: S105 - the name of a variable


@dtimer.command(cls=CeleryCommand)
@click.option(
    "--host",
    cls=CeleryOption,
    help_group="Server",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on.",
)
@click.option(
    "--port",
    cls=CeleryOption,
    help_group="Server",
    type=click.IntRange(1, 65_535),
    default=5757,
    show_default=True,
    help="Its port.",
)
@click.option(
    "--allow-host",
    "allow_hosts",
    cls=CeleryOption,
    help_group="Server",
    multiple=True,
    metavar="NAME",
    help="Another name that browsers call it by, as behind a proxy.",
)
@click.option(
    "--allow-writes", cls=CeleryOption, help_group="Access", is_flag=True, help="Tasks may be changed; needs a token."
)
@click.option(
    "--token",
    cls=CeleryOption,
    help_group="Access",
    metavar="TEXT",
    help=f"What users have to give, 16 characters or more; better in {TOKEN}.",
)
@click.pass_context
@handle_preload_options
def web(ctx: Any, host: str, port: int, allow_hosts: tuple[str, ...], allow_writes: bool, token: str | None) -> None:
    """Show the timer in the browser, until Ctrl-C."""
    try:
        from celery_dtimer.web.server import serve  # noqa: PLC0415 - nothing else needs its libraries
    except ModuleNotFoundError as exc:
        raise click.ClickException(f"{exc}: pip install 'celery-dtimer[web]'") from exc
    _check_port(host, port)
    ctx.obj.echo(f"the console is at http://{f'[{host}]' if ':' in host else host}:{port}/ (Ctrl-C ends it)")
    try:
        serve(
            ctx.obj.app,
            host=host,
            port=port,
            allow_writes=allow_writes,
            token=token or os.environ.get(TOKEN) or None,
            allow_hosts=allow_hosts,
        )
    except (DTimerError, ValueError) as exc:
        raise click.ClickException(printable(exc)) from exc


def _check_port(host: str, port: int) -> None:
    """Say that a port is taken, before anything is promised."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as exc:
        taken = "taken" if exc.errno == errno.EADDRINUSE else f"not to be had ({exc.strerror or exc})"
        raise click.ClickException(f"port {port} of {printable(host)} is {taken}: give another --port") from exc
