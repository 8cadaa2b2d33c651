"""Tables for people: drawn by rich on a terminal, if that is installed (the extra ``cli``); else there are plain lines.

Nothing that is shown is markup: every cell is a text of its own, with what a terminal obeys escaped.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from celery_dtimer.operating.printing import brief, printable, shortened

#: Columns that a line of a cell has at most, before rich cuts it to the width of its column.
MOST_COLUMNS = 400


class Head(NamedTuple):
    """A column: its name, and where its cells stand."""

    name: str
    side: Literal["left", "right"] = "left"


class Whole(str):
    """A line of a cell that is folded and never cut, such as an id."""

    __slots__ = ()


#: A cell: one line, or several.
Cell = str | Sequence[str]


def terminal(ctx: Any, *, err: bool = False) -> Any:
    """Return rich's console of the standard output (or error), or None if it is no terminal or there is no rich."""
    stream = sys.stderr if err else sys.stdout
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return None
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return Console(stderr=err, no_color=True if ctx.obj.no_color else None, **PLAIN)


#: Nothing in a text is looked at: no markup, no emoji codes, no highlighting.
PLAIN: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}


def show(ctx: Any, heads: Sequence[Head], rows: Iterable[Sequence[Cell]], *, titled: bool = True) -> bool:
    """Print a table on a terminal; False, and nothing printed, if it has to be plain lines.

    Args:
        ctx: The command's context.
        heads: The columns; the last one takes what is left of the line.
        rows: Cells in their order.
        titled: Whether the columns' names are shown.
    """
    console = terminal(ctx)
    if console is None:
        return False
    console.print(table(heads, rows, titled=titled))
    return True


def table(heads: Sequence[Head], rows: Iterable[Sequence[Cell]], *, titled: bool = True) -> Any:
    """Return rich's table of some cells."""
    from rich import box  # noqa: PLC0415 - an extra
    from rich.table import Table  # noqa: PLC0415 - an extra
    from rich.text import Text  # noqa: PLC0415 - an extra

    made = Table(box=box.SIMPLE_HEAD, show_header=titled, expand=True, pad_edge=False, header_style="bold")
    for number, head in enumerate(heads):
        last = number == len(heads) - 1
        made.add_column(Text(head.name), justify=head.side, no_wrap=not last, ratio=1 if last else None)
    for row in rows:
        made.add_row(*(_cell(cell) for cell in row))
    return made


def _cell(cell: Cell) -> Any:
    from rich.console import Group  # noqa: PLC0415 - an extra

    lines = [cell] if isinstance(cell, str) else cell
    return Group(*(_line(line, number) for number, line in enumerate(lines)))


def _line(line: str, number: int) -> Any:
    from rich.text import Text  # noqa: PLC0415 - an extra

    style = "dim" if number else ""
    if isinstance(line, Whole):
        return Text(printable(line), style=style, overflow="fold")
    return Text(shortened(brief(line), MOST_COLUMNS), style=style, overflow="ellipsis", no_wrap=True)
