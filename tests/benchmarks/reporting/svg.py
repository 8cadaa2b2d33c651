"""Plots as SVG, like docs/pictures/: text stays text, and a reader whose system is dark gets dark ones."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 700
#: Pixels of a character of the font below.
CHARACTER = 7.2
FONT = 'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="12"'

#: By day and by night: the page, its border, text, pale text, the grid, then the colours of the contenders.
DAY = ("#ffffff", "#d0d7de", "#1f2328", "#57606a", "#e6e9ed", "#0969da", "#bc4c00", "#6e7781", "#8250df")
NIGHT = ("#161b22", "#30363d", "#e6edf3", "#9198a1", "#262c35", "#58a6ff", "#ffa657", "#8b949e", "#d2a8ff")

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """A scale: its ends, the values that are written beside it, and whether it is logarithmic."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value is, 0 to 1; what is outside stands at the end."""
        low, high, value = (
            (math.log10(each) for each in (self.low, self.high, max(value, 1e-9)))
            if self.log
            else (
                self.low,
                self.high,
                value,
            )
        )
        return min(1.0, max(0.0, (value - low) / (high - low)))


@dataclass(frozen=True)
class Line:
    """One contender's line: its colour (0 is ours) and its points; with dots if they are few."""

    colour: int
    points: Sequence[Point]
    dots: bool = False


def short(value: float) -> str:
    """Write a number for an axis: 2500 as 2.5k, 10000000 as 10M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def from_zero(values: Iterable[float], unit: str = "") -> Axis:
    """A linear axis from 0 to above all values, with three to six ticks."""
    most = max(values, default=0) or 1
    size = 10 ** math.floor(math.log10(most / 4))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if most / (size * factor) <= 5)
    count = math.ceil(most / step - 1e-9)
    return Axis(0, count * step, tuple((n * step, short(round(n * step, 9)) + unit) for n in range(count + 1)))


def decades(values: Iterable[float], unit: str = "") -> Axis:
    """A logarithmic axis over whole decades."""
    found = [value for value in values if value > 0] or [1.0]
    low, high = math.floor(math.log10(min(found))), math.ceil(math.log10(max(found)) - 1e-9)
    high = max(high, low + 1)
    ticks = tuple((10.0**n, short(float(f"1e{n}")) + unit) for n in range(low, high + 1))
    return Axis(10.0**low, 10.0**high, ticks, log=True)


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Some words; ``kind`` is ``pale``, ``bold`` or nothing."""
    cls = f' class="{kind}"' if kind else ""
    place = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{cls}{place}>{escape(words)}</text>'


def legend(x: float, y: float, names: Sequence[tuple[int, str]]) -> list[str]:
    """The contenders' colours and names, in a row."""
    drawn = []
    for colour, name in names:
        drawn += [
            f'<rect class="c{colour}" x="{x:.1f}" y="{y - 9}" width="14" height="9" rx="2"/>',
            text(x + 20, y, name),
        ]
        x += 20 + len(name) * CHARACTER + 24
    return drawn


def plot(box: tuple[float, float, float, float], title: str, x: Axis, y: Axis, drawn: Iterable[Line]) -> list[str]:
    """Lines in a box (left, top, width, height), which holds the lines alone: ticks stand left of it and below."""
    left, top, width, height = box
    parts = [text(left, top - 10, title, "bold")]
    for value, words in y.ticks:
        at = top + height * (1 - y.place(value))
        parts += [f'<path class="grid" d="M{left} {at:.1f}h{width}"/>', text(left - 6, at + 4, words, "pale", "end")]
    for value, words in x.ticks:
        at = left + width * x.place(value)
        parts += [
            f'<path class="grid" d="M{at:.1f} {top + height}v4"/>',
            text(at, top + height + 18, words, "pale", "middle"),
        ]
    for line in reversed(list(drawn)):  # ours is drawn last, on top
        places = [(left + width * x.place(a), top + height * (1 - y.place(b))) for a, b in line.points]
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        parts.append(f'<path class="l{line.colour}" d="M{path}"/>')
        if line.dots:
            parts += [f'<circle class="c{line.colour}" cx="{a:.1f}" cy="{b:.1f}" r="3"/>' for a, b in places]
    return parts


def bars(left: float, top: float, width: float, title: str, rows: Sequence[tuple[str, float, str, int]]) -> list[str]:
    """Horizontal bars, one a row: (name, value, what is written behind the bar, colour)."""
    names = max(len(name) for name, *_ in rows) * CHARACTER + 8
    room = width - names - max(len(words) for _, _, words, _ in rows) * CHARACTER - 8
    most = max(value for _, value, _, _ in rows) or 1
    parts = [text(left, top - 10, title, "bold")]
    for n, (name, value, words, colour) in enumerate(rows):
        y = top + n * 20
        long = max(1.0, room * value / most)
        parts += [
            text(left + names - 8, y + 12, name, "", "end"),
            f'<rect class="c{colour}" x="{left + names:.1f}" y="{y + 2}" width="{long:.1f}" height="13" rx="2"/>',
            text(left + names + long + 6, y + 12, words, "pale"),
        ]
    return parts


def picture(height: float, title: str, parts: Iterable[str]) -> str:
    """The whole picture."""
    size = f'width="{WIDTH}" height="{height:g}"'
    rules = f"<style>{_rules(DAY)}.bold{{font-weight:600}}@media(prefers-color-scheme:dark){{{_rules(NIGHT)}}}</style>"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {WIDTH} {height:g}" role="img" {FONT}>'
    page = f'<rect class="page" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1:g}" rx="8"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", rules, page, *parts, "</svg>", ""])


def _rules(colours: tuple[str, ...]) -> str:
    page, border, words, pale, grid, *contenders = colours
    lines = "".join(
        f".c{n}{{fill:{colour}}}.l{n}{{stroke:{colour};stroke-width:2;fill:none;stroke-linejoin:round}}"
        for n, colour in enumerate(contenders)
    )
    return f".page{{fill:{page};stroke:{border}}}text{{fill:{words}}}.pale{{fill:{pale}}}.grid{{stroke:{grid}}}{lines}"
