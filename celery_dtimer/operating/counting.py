"""``stats`` and ``forecast``: how much waits, and what comes due when."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from string import ascii_uppercase
from typing import Any

import click
from celery.bin.base import CeleryCommand, CeleryOption

from celery_dtimer.extension import extension_of
from celery_dtimer.operating.backlog import read_backlog
from celery_dtimer.operating.commands import answering, dtimer
from celery_dtimer.operating.gauges import Gauges, QueueGauges, read_gauges
from celery_dtimer.operating.printing import WIDTH, counted, printable, shortened, span
from celery_dtimer.operating.tables import Head, show
from celery_dtimer.posting.task_timer import get_timer
from celery_dtimer.timer.stored import INTERVALS

#: A queue in stats: its name is the last, since it may be long.
ROW = "{:>11}  {:>11}  {:>11}  {:>11}  {}"
QUEUE_HEADS = (*(Head(name, "right") for name in ("PENDING", "DUE", "OVERDUE", "LEASED")), Head("QUEUE"))

#: Seconds of an interval, by its name.
UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}

#: Queues that have a letter of their own in the bars of a forecast; those beyond share the last.
LETTERS = ascii_uppercase[:20]
OTHERS = "+"


@dtimer.command(cls=CeleryCommand)
@answering
def stats(ctx: Any, as_json: bool) -> None:
    """Count what the timer holds, by state and queue, and what is overdue."""
    extension = extension_of(ctx.obj.app)
    gauges = read_gauges(extension.shards)
    if as_json:
        ctx.obj.echo(json.dumps(asdict(gauges)))
        return
    drawn = show(ctx, QUEUE_HEADS, queue_rows(gauges))
    for line in summary(gauges) if drawn else _stats(gauges):
        ctx.obj.echo(line)
    backlog = read_backlog(extension)
    if backlog.seconds:
        ctx.obj.echo(
            f"at most {backlog.limit.rate:g} a second of {backlog.overdue} overdue tasks are claimed: "
            f"{span(backlog.seconds)}"
        )


def _stats(gauges: Gauges) -> Iterator[str]:
    yield from plain_rows(queue_rows(gauges))
    yield from summary(gauges)


def queue_rows(gauges: Gauges) -> list[tuple[str, ...]]:
    """Return the numbers and the name of each queue, the fullest first, and of all together."""
    total = QueueGauges()
    for queue in gauges.queues.values():
        total.pending, total.due = total.pending + queue.pending, total.due + queue.due
        total.overdue, total.leased = total.overdue + queue.overdue, total.leased + queue.leased
    ranked = sorted(gauges.queues.items(), key=lambda item: (-item[1].pending, item[0]))
    return [
        (*map(str, (queue.pending, queue.due, queue.overdue, queue.leased)), name + (" (held)" if queue.held else ""))
        for name, queue in [*ranked, ("total", total)]
    ]


def plain_rows(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The same in lines that fit a terminal."""
    for row in ([head.name for head in QUEUE_HEADS], *rows):
        line = ROW.format(*row[:-1], "")
        yield line + shortened(printable(row[-1]), max(10, WIDTH - len(line)))


def summary(gauges: Gauges) -> Iterator[str]:
    """What is so of all queues together."""
    yield f"{gauges.parked} parked, {gauges.damaged} can't be read, {counted(gauges.holds, 'hold')}"
    if any(queue.overdue for queue in gauges.queues.values()):
        yield f"the oldest overdue task has been due for {span(gauges.oldest_overdue)}"


@dtimer.command(cls=CeleryCommand)
@click.option(
    "--by",
    "unit",
    cls=CeleryOption,
    help_group="Intervals",
    type=click.Choice(list(UNITS)),
    default="minute",
    show_default=True,
    help="Length of an interval.",
)
@click.option(
    "-n",
    "--intervals",
    cls=CeleryOption,
    help_group="Intervals",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="Number of intervals.",
)
@click.option(
    "-Q", "--queue", "queues", cls=CeleryOption, help_group="Intervals", multiple=True, help="Only this queue."
)
@answering
def forecast(ctx: Any, unit: str, intervals: int, queues: tuple[str, ...], as_json: bool) -> None:
    """Show how many tasks come due in the next minutes, hours or days, by queue."""
    timer = get_timer(ctx.obj.app)
    start = datetime.now(UTC)
    counts = timer.forecast(UNITS[unit], INTERVALS.check(intervals))
    counts = {name: counts.get(name, [0] * intervals) for name in queues or sorted(counts)}
    if as_json:
        due = timer.count(duration=0).pending
        told = {"from": start.isoformat(), "step": UNITS[unit], "due": due, "queues": counts}
        ctx.obj.echo(json.dumps(told))
        return
    for line in _histogram(start, UNITS[unit], counts, intervals):
        ctx.obj.echo(line)
    if not queues:
        ctx.obj.echo(f"{timer.count(duration=0).pending} are due already, and are not counted here")


def _histogram(start: datetime, step: int, counts: Mapping[str, Sequence[int]], intervals: int) -> Iterator[str]:
    """One line an interval, whose bar has a letter a queue, and one line a queue."""
    ranked = sorted(counts, key=lambda name: (-sum(counts[name]), name))
    letters = {name: LETTERS[i] if i < len(LETTERS) else OTHERS for i, name in enumerate(ranked)}
    totals = [sum(counts[name][i] for name in ranked) for i in range(intervals)]
    yield f"{'FROM (UTC)':<19}  {'TASKS':>9}"
    for i, total in enumerate(totals):
        line = f"{start + timedelta(seconds=i * step):%Y-%m-%d %H:%M:%S}  {total:>9}  "
        bar = _bar([(letters[name], counts[name][i]) for name in ranked], max(totals), WIDTH - len(line))
        yield (line + bar).rstrip()
    for name in ranked:
        line = f"{letters[name]}  {sum(counts[name]):>27}  "
        yield line + shortened(printable(name), WIDTH - len(line))
    yield f"{sum(totals)} in {intervals} intervals of {span(step)}"


def _bar(parts: Sequence[tuple[str, int]], longest: int, width: int) -> str:
    """Return letters in the proportion of their counts; what is not 0 has one letter at least."""
    if not longest:
        return ""
    ends = [round(end * width / longest) for end in accumulate(count for _, count in parts)]
    bar = "".join(letter * (end - begin) for (letter, _), begin, end in zip(parts, [0, *ends], ends, strict=False))
    return bar or next((letter for letter, count in parts if count), "")
