"""``celery -A proj dtimer metrics``: what the timer holds, for Prometheus, from a process that is no worker."""

import json
from dataclasses import asdict
from typing import Any

import click
from celery.bin.base import CeleryCommand, CeleryOption

from celery_dtimer.extension import extension_of
from celery_dtimer.operating.commands import answering, dtimer
from celery_dtimer.operating.gauges import read_gauges

#: What the metrics of a timer say whose Redis did not answer.
DOWN = "celery_dtimer_up 0.0"


@dtimer.command(cls=CeleryCommand)
@click.option(
    "--port",
    cls=CeleryOption,
    help_group="Endpoint",
    type=click.IntRange(1, 65_535),
    help="Serve them on this port until interrupted, instead of printing them once.",
)
@click.option(
    "--host",
    cls=CeleryOption,
    help_group="Endpoint",
    default="127.0.0.1",
    show_default=True,
    help="The address to serve them on.",
)
@answering
def metrics(ctx: Any, port: int | None, host: str, as_json: bool) -> None:
    """Show what the timer holds, by queue; in Prometheus' text format, or serve that.

    An autoscaler needs it where there may be no worker to ask.
    """
    extension = extension_of(ctx.obj.app)
    if as_json and port is None:
        ctx.obj.echo(json.dumps(asdict(read_gauges(extension.shards))))
        return
    try:
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - an extra

        from celery_dtimer.operating.prometheus import Endpoint, TimerCollector  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise click.ClickException("prometheus-client is missing: pip install 'celery-dtimer[prometheus]'") from exc
    collector = TimerCollector(extension)
    if port is None:
        registry = CollectorRegistry()
        registry.register(collector)
        text = generate_latest(registry).decode()
        ctx.obj.echo(text, nl=False)
        if DOWN in text.splitlines():
            raise click.ClickException("the timer's Redis did not answer")
        return
    try:
        endpoint = Endpoint(host, port, collector)
    except OSError as exc:
        raise click.ClickException(f"can't serve on {host}:{port}: {exc}") from exc
    ctx.obj.echo(f"metrics are served on {host}:{port}")
    endpoint.thread.join()
