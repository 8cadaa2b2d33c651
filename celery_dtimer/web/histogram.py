"""The picture of what comes due: a stack of queues an interval. Widths are shares, so that it fits any screen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from zlib import crc32

#: Name of a range -> what it is called, seconds of an interval, intervals, intervals between two labels, their unit.
RANGES = {
    "hour": ("Next hour", 60, 60, 10, ("min", 60)),
    "day": ("Next day", 1800, 48, 8, ("h", 3600)),
    "month": ("Next 30 days", 86_400, 30, 5, ("d", 86_400)),
}

#: Queues that have a colour of their own; those beyond share the last.
COLOURS = 7
OTHERS = "other queues"

#: Pixels: the plot, and the least height of what is not nothing.
HEIGHT, LEAST = 220, 1.5

#: The space between two bars, as a share of a bar's place.
GAP = 0.18


@dataclass(frozen=True)
class Part:
    """A queue's part of a bar, in pixels from above."""

    colour: int
    y: float
    height: float


@dataclass(frozen=True)
class Bar:
    """What comes due in one interval; x and width are per cent."""

    x: float
    width: float
    parts: list[Part]
    total: int
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Queue:
    """One line of the legend."""

    name: str
    colour: int
    total: int
    counts: list[int]
    own: bool


@dataclass(frozen=True)
class Histogram:
    """All of it.

    Attributes:
        name: Of its range.
        title: What the range is called.
        bars: From now on.
        queues: The legend.
        total: Events in all bars.
        peak: Events in the highest.
        lines: Heights of lines across, in pixels from above, and their counts.
        labels: Places of labels, in per cent, and their texts.
    """

    name: str
    title: str
    bars: list[Bar]
    queues: list[Queue]
    total: int
    peak: int
    lines: list[tuple[float, int]]
    labels: list[tuple[float, str]]
    height: int = HEIGHT


def draw(name: str, start: datetime, counts: Mapping[str, Sequence[int]]) -> Histogram:
    """Draw what a forecast has counted from ``start`` on."""
    title, step, intervals, every, (unit, seconds) = RANGES[name]
    queues = _ranked(counts, intervals)
    totals = [sum(queue.counts[i] for queue in queues) for i in range(intervals)]
    peak = max(totals, default=0)
    top = _round_up(peak)
    place = 100 / intervals
    bars = []
    for i, total in enumerate(totals):
        parts: list[Part] = []
        y = float(HEIGHT)
        for queue in queues:
            if queue.counts[i]:
                height = max(LEAST, queue.counts[i] / top * HEIGHT)
                y -= height
                # A part stands a little above the one below it: neighbours may be alike to some eyes.
                seam = 1 if parts and height > 2 * LEAST else 0
                parts.append(Part(queue.colour, round(max(0.0, y), 2), round(height - seam, 2)))
        at = start + timedelta(seconds=step * i)
        bars.append(
            Bar(
                x=round(place * (i + GAP / 2), 4),
                width=round(place * (1 - GAP), 4),
                parts=parts,
                total=total,
                start=at,
                end=at + timedelta(seconds=step),
            )
        )
    labels = [(round(place * i, 4), f"+{step * i // seconds} {unit}") for i in range(every, intervals, every)]
    lines = [(HEIGHT * (1 - share), round(top * share)) for share in (1.0, 0.5)] if peak else []
    return Histogram(name, title, bars, queues, sum(totals), peak, lines, labels)


def _ranked(counts: Mapping[str, Sequence[int]], intervals: int) -> list[Queue]:
    """The queues that have a colour, by name; and all others in one."""
    by_total = sorted(counts, key=lambda name: (-sum(counts[name]), name))
    own = sorted(by_total[:COLOURS]) if len(by_total) > COLOURS else sorted(by_total)
    queues = [
        Queue(name, colour, sum(counts[name]), list(counts[name]), own=True) for name, colour in _colours(own).items()
    ]
    rest = [counts[name] for name in by_total if name not in own]
    if rest:
        summed = [sum(each[i] for each in rest) for i in range(intervals)]
        queues.append(Queue(f"{len(rest)} {OTHERS}", COLOURS + 1, sum(summed), summed, own=False))
    return queues


def _colours(names: Sequence[str]) -> dict[str, int]:
    """Give each name a colour of its own that it mostly keeps when others come and go."""
    chosen: dict[str, int] = {}
    for name in names:
        colour = crc32(name.encode(errors="replace")) % COLOURS
        while colour + 1 in chosen.values():
            colour = (colour + 1) % COLOURS
        chosen[name] = colour + 1
    return chosen


def _round_up(peak: int) -> int:
    """The first even round number that is no less: its half is a whole number."""
    if peak <= 2:  # noqa: PLR2004 - the smallest scale
        return 2
    unit: int = 10 ** (len(str(peak)) - 1)
    steps: list[float] = [2, 4, 6, 8, 10] if unit == 1 else [1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10]
    for low, high in pairwise([0, *steps]):
        if low * unit < peak <= high * unit:
            return round(high * unit)
    return 10 * unit
