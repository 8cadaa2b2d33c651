# ruff: noqa: INP001 - a script, not a package
"""Makes the pictures of the documentation: each ``NAME.txt`` in this folder becomes ``NAME.svg``.

A text is drawn on a grid of characters. Box characters (``┌ ─ ▶``) become lines and arrows, the first line in a box
becomes bold, and everything else stays text. A text that starts with ``$ `` is drawn as a terminal.

    python3 docs/pictures/make.py
"""

import re
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

HERE = Path(__file__).parent

#: Pixels of a character, and around the picture.
WIDTH, HEIGHT, MARGIN, BAR = 8, 18, 16, 22

#: The directions in which a line leaves the centre of its character.
LINES = {
    "─": "ew",
    "│": "ns",
    "┌": "es",
    "┐": "sw",
    "└": "en",
    "┘": "nw",
    "├": "ens",
    "┤": "nsw",
    "┬": "esw",
    "┴": "enw",
    "┼": "ensw",
}
#: Arrowheads: the corners of a triangle, in pixels from the upper left corner of the character.
HEADS = {
    "▶": "0,4 8,9 0,14",
    "◀": "8,4 0,9 8,14",
    "▲": "0,16 4,6 8,16",
    "▼": "0,2 4,12 8,2",
}

FONT = 'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="13"'
DIAGRAM = {"page": "#ffffff", "text": "#1f2328", "line": "#57606a", "box": "#ddf4ff", "border": "#d0d7de"}
#: The same for a reader whose system is dark. The page is drawn in both, so neither depends on what is behind it.
DARK = {"page": "#161b22", "text": "#e6edf3", "line": "#9198a1", "box": "#1f3a5f", "border": "#30363d"}
TERMINAL = {"page": "#161b22", "text": "#e6edf3", "line": "#e6edf3", "box": "#161b22", "border": "#30363d"}

#: Colours of lines in a terminal: the first pattern that is found in a line decides.
COLOURS = [(r"^\$ ", "#79c0ff"), (r"killed|down|cancelled:", "#ffa657"), (r"^  kept |every \w+ was kept", "#7ee787")]


def picture(text: str) -> str:
    """Return the SVG of a text."""
    rows = text.rstrip("\n").split("\n")
    terminal = text.startswith("$ ")
    colours = TERMINAL if terminal else DIAGRAM
    top = MARGIN + (BAR if terminal else 0)
    width = max(map(len, rows)) * WIDTH + 2 * MARGIN
    height = len(rows) * HEIGHT + top + MARGIN
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" {FONT}>',
        _style(colours, None if terminal else DARK),
        f'<rect class="page" width="{width}" height="{height}" rx="8"/>',
    ]
    if terminal:
        dots = zip((20, 38, 56), ("#ff5f57", "#febc2e", "#28c840"), strict=True)
        body += [f'<circle cx="{x}" cy="18" r="5.5" fill="{colour}"/>' for x, colour in dots]
    body.append(f'<g transform="translate({MARGIN} {top})">')
    boxes = [] if terminal else list(_boxes(rows))
    for x, y, right, bottom in boxes:
        body.append(
            f'<rect class="box" x="{x * WIDTH + 4}" y="{y * HEIGHT + 9}" width="{(right - x) * WIDTH}" '
            f'height="{(bottom - y) * HEIGHT}"/>'
        )
    body.append(f'<path class="line" d="{_lines(rows)}"/>')
    titles = {(y + 1, x) for x, y, _, _ in boxes}
    for y, row in enumerate(rows):
        colour = next((colour for pattern, colour in COLOURS if terminal and re.search(pattern, row)), None)
        fill = f' style="fill:{colour}"' if colour else ""
        body += _head(row, y)
        for found in re.finditer(r"[^\s─│┌┐└┘├┤┬┴┼▶◀▲▼]+(?: {1,2}[^\s─│┌┐└┘├┤┬┴┼▶◀▲▼]+)*", row):
            x, words = found.start(), found[0]
            box = max((left for line, left in titles if line == y and left < x), default=None)
            bold = box is not None and not row[box + 1 : x].strip() and "│" not in row[box + 1 : x]
            weight = ' font-weight="bold"' if bold else ""
            body.append(
                f'<text x="{x * WIDTH}" y="{y * HEIGHT + 13}" textLength="{len(words) * WIDTH}" '
                f'xml:space="preserve"{weight}{fill}>{escape(words)}</text>'
            )
    return "\n".join([*body, "</g>", "</svg>", ""])


def _style(colours: dict[str, str], dark: dict[str, str] | None) -> str:
    """Return the style sheet: the colours, and those of a dark scheme if there are any."""
    rules = _rules(colours)
    return f"<style>{rules}{f'@media(prefers-color-scheme:dark){{{_rules(dark)}}}' if dark else ''}</style>"


def _rules(colours: dict[str, str]) -> str:
    return (
        f".page{{fill:{colours['page']};stroke:{colours['border']}}}"
        f".box{{fill:{colours['box']};fill-opacity:.6}}"
        f".line{{stroke:{colours['line']};stroke-width:1.3;fill:none}}"
        f".head{{fill:{colours['line']}}}"
        f"text{{fill:{colours['text']}}}"
    )


def _at(rows: list[str], x: int, y: int) -> str:
    return rows[y][x] if 0 <= y < len(rows) and 0 <= x < len(rows[y]) else " "


def _boxes(rows: list[str]) -> Iterator[tuple[int, int, int, int]]:
    """Yield the closed boxes: left, top, right and bottom, in characters."""
    for y, row in enumerate(rows):
        for x in (x for x, character in enumerate(row) if character == "┌"):
            right = x + 1
            while _at(rows, right, y) in set("─┬┴┼▼▲"):
                right += 1
            bottom = y + 1
            while _at(rows, x, bottom) in set("│├┤┼▶◀"):
                bottom += 1
            if _at(rows, right, y) == "┐" and _at(rows, x, bottom) == "└":
                yield x, y, right, bottom


def _lines(rows: list[str]) -> str:
    """Return the path of all lines."""
    ends = {"e": (WIDTH, 9), "w": (0, 9), "n": (4, 0), "s": (4, HEIGHT)}
    steps = [
        f"M{x * WIDTH + 4} {y * HEIGHT + 9}L{x * WIDTH + ends[way][0]} {y * HEIGHT + ends[way][1]}"
        for y, row in enumerate(rows)
        for x, character in enumerate(row)
        for way in LINES.get(character, "")
    ]
    return "".join(steps)


def _head(row: str, y: int) -> Iterator[str]:
    """Yield the arrowheads of a row."""
    for x, character in enumerate(row):
        if character in HEADS:
            place = f'transform="translate({x * WIDTH} {y * HEIGHT})"'
            yield f'<polygon class="head" points="{HEADS[character]}" {place}/>'


def main() -> None:
    """Write every picture."""
    for source in sorted(HERE.glob("*.txt")):
        target = source.with_suffix(".svg")
        target.write_text(picture(source.read_text(encoding="utf-8")), encoding="utf-8")
        sys.stdout.write(f"{target.name}\n")


if __name__ == "__main__":
    main()
