"""What the demo shows while it runs: a live table on a terminal, plain lines anywhere else."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

#: Rows of each of the two tables.
ROWS = 8


@dataclass(frozen=True)
class View:
    """One look at the timer and the workers.

    Attributes:
        elapsed: Seconds since the start.
        pending: How many events wait.
        leased: How many a worker holds.
        ran: How many runs have ended well.
        upcoming: The next events: label, and seconds until they are due.
        fired: The last runs, the latest first: label, worker, seconds late, and what came of them.
        workers: Name, and what is known of it.
        lateness: The figures so far.
    """

    elapsed: float
    pending: int
    leased: int
    ran: int
    upcoming: list[tuple[str, float]]
    fired: list[tuple[str, str, float, str]]
    workers: dict[str, str]
    lateness: str


class Screen(Protocol):
    """Where the demo is shown; open while its ``live`` is entered."""

    def live(self) -> AbstractContextManager[object]:
        """Show it live until this is left."""

    def show(self, view: View) -> None:
        """Show how things stand."""

    def tell(self, line: str, *, style: str = "") -> None:
        """Say what has happened."""


class PlainScreen:
    """Lines of text: one a second, and one for whatever happens."""

    def __init__(self) -> None:
        self._shown = -1

    def live(self) -> AbstractContextManager[object]:
        """Nothing to open."""
        return nullcontext()

    def show(self, view: View) -> None:
        """Print one line a second."""
        if int(view.elapsed) == self._shown:
            return
        self._shown = int(view.elapsed)
        counts = f"{view.pending:3d} pending {view.leased:2d} leased {view.ran:3d} ran"
        print(f"{view.elapsed:5.1f} s  {counts}   late: {view.lateness}", flush=True)

    def tell(self, line: str, *, style: str = "") -> None:
        """Print the line."""
        del style
        print(line, flush=True)


class LiveScreen:
    """Two tables that change in place: what is pending, and what fires."""

    def __init__(self) -> None:
        # Only a terminal needs rich; it minds NO_COLOR by itself.
        from rich.console import Console  # noqa: PLC0415 - see above
        from rich.live import Live  # noqa: PLC0415

        self._console = Console(highlight=False)
        self._live = Live(console=self._console, refresh_per_second=10, transient=True)

    def live(self) -> AbstractContextManager[object]:
        """Draw in place until this is left."""
        return self._live

    def show(self, view: View) -> None:
        """Draw the tables."""
        from rich.console import Group  # noqa: PLC0415 - see above
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        pending = Table(title="pending, soonest first", title_justify="left", min_width=30)
        pending.add_column("event")
        pending.add_column("due in", justify="right")
        for label, due_in in _filled(view.upcoming, ("", None)):
            pending.add_row(label, "" if due_in is None else f"{due_in:.1f} s")
        fired = Table(title="fired, latest first", title_justify="left", min_width=46)
        for name in ("event", "worker"):
            fired.add_column(name)
        fired.add_column("late by", justify="right")
        fired.add_column("")
        for label, worker, late, outcome in _filled(view.fired, ("", "", None, "")):
            style = "yellow" if late is not None and late > 1 else ""
            fired.add_row(label, worker, "" if late is None else f"{late * 1000:,.0f} ms", outcome, style=style)
        counts = f"{view.elapsed:5.1f} s   {view.pending} pending   {view.leased} leased   {view.ran} ran"
        workers = "   ".join(f"{name}: {state}" for name, state in view.workers.items())
        side_by_side = Table.grid(padding=(0, 2))
        side_by_side.add_row(pending, fired)
        self._live.update(
            Group(Text(counts, style="bold"), Text(workers), side_by_side, Text(f"late: {view.lateness}"))
        )

    def tell(self, line: str, *, style: str = "") -> None:
        """Print the line above the tables."""
        self._console.print(line, style=style, markup=False, soft_wrap=True)


def open_screen() -> Screen:
    """Return the screen that suits standard output."""
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown"}:
        return LiveScreen()
    return PlainScreen()


def _filled(rows: list, empty: tuple) -> list:
    """The rows, filled up so that a table keeps its height."""
    return [*rows[:ROWS], *[empty] * (ROWS - len(rows))]
