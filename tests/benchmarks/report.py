"""Make the report of a run of the bench: a page in Markdown and its plots.

usage: report.py [FILE] [--into FOLDER]

Without a folder, FILE (docs/explanation/performance.json, if none is named) becomes docs/explanation/performance.md and
docs/pictures/performance/. With one, all goes there.
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

from reporting import plots, tables
from reporting.figures import Run
from reporting.targets import Row, rows

HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs"
KEPT = DOCS / "explanation" / "performance.json"
FRAME = HERE / "reporting" / "frame.md"


def read(file: Path) -> Run:
    """Read the run that a file has."""
    return Run.read(json.loads(file.read_text("utf-8")))


def page(run: Run, pictures: str) -> str:
    """Return the page of a run; ``pictures`` is where it finds its plots."""
    held = rows(run)
    shown = dict(plots.drawn(run))

    def made(found: re.Match[str]) -> str:
        what, _, name = found[1].partition(" ")
        if what == "plot":
            picture = f"![{plots.PLOTS[name][1]}]({pictures}/{name}.svg)"
            return picture if name in shown else "There is no plot, since figures are missing."
        if what == "targets":
            return tables.targets(held)
        if what == "summary":
            return tables.summary(held)
        if what == "machine":
            return _machine(run)
        return str(getattr(tables, what)(run))

    return re.sub(r"\{\{([\w ]+)\}\}", made, FRAME.read_text("utf-8"))


def _machine(run: Run) -> str:
    told = ", ".join(f"{name} {text}" for name, text in run.machine.items())
    return f"Measured on {run.date[:10]}: {told}."


def write(run: Run, file: Path, folder: Path, pictures: str) -> None:
    """Write the page and its plots, and remove plots that it no longer has."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    for name, svg in plots.drawn(run):
        (folder / f"{name}.svg").write_text(svg, "utf-8")
    file.write_text(page(run, pictures), "utf-8")


def write_docs(run: Run) -> None:
    """Write the page of the documentation."""
    write(run, DOCS / "explanation" / "performance.md", DOCS / "pictures" / "performance", "../pictures/performance")


def on_terminal(held: Sequence[Row]) -> str:
    """Return the table of targets for a terminal."""
    lines = []
    for row in held:
        target = row.target
        figure = "-" if row.figure is None else f"{row.figure:.2f}{target.unit}"
        bound = f"{'>=' if target.at_least else '<='} {target.bound:g}{target.unit}"
        met = {True: "met", False: "NOT MET", None: row.why.upper()}[row.met]
        lines.append(f"{target.what.replace('`', ''):72} {figure:>9}  {bound:9} {met}")
    return "\n".join([*lines, tables.summary(held)])


def main() -> None:
    """Write the report, and print its targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", default=KEPT)
    parser.add_argument("--into", type=Path)
    given = parser.parse_args()
    run = read(given.file)
    if given.into:
        write(run, given.into / "performance.md", given.into, ".")
    else:
        write_docs(run)
    print(on_terminal(rows(run)))


if __name__ == "__main__":
    main()
