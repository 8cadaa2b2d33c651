"""The tables on a terminal, and the plain lines where there is none, or no rich."""

import io
import sys

import pytest
from celery.bin.base import CLIContext
from rich.console import Console
from rig.terminals import plain

from celery_dtimer.operating.printing import CUT, MOST_SHOWN, WIDTH, brief, columns
from celery_dtimer.operating.tables import PLAIN, Head, Whole, show, table, terminal

HEADS = (Head("DUE (UTC)"), Head("IN", "right"), Head("TASK"))

HOSTILE = [
    "[red]red[/red]",
    "[link=http://example.com]a link[/link]",
    "[/]",
    ":smile:",
    "<script>alert('html')</script> &amp;",
    "two\nlines",
    "\r\x1b[2J\x1b[1;1Hcleared",
    "\x1b]8;;http://example.com\x07a link\x1b]8;;\x07",
    "\u202egnihtyna\u2066\u2069",
    "漢字" * 60,
    "e\u0301" * 60,
    "x" * 500_000,
    "\x1b" * 500_000,
]


def drawn(rows):
    """The lines of a table at 80 columns, without colours."""
    file = io.StringIO()
    Console(file=file, width=WIDTH, force_terminal=True, color_system=None, **PLAIN).print(table(HEADS, rows))
    return file.getvalue().split("\n")


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_in_a_cell_is_markup_or_forges_output(text):
    lines = drawn([["2026-11-22 14:21:54", "59 s", [text, Whole("the-id"), text]], ["then", "now", text]])
    assert len(lines) == 9
    assert all(line.isprintable() and columns(line) <= WIDTH for line in lines)
    shown = brief(text)
    assert shown[:5] in lines[3]
    if len(shown) < 40:
        assert shown in lines[3]


def test_an_id_is_folded_and_never_cut():
    long = "".join(f"{n:04}" for n in range(50))
    lines = drawn([["then", "now", ["task", Whole(long)]]])
    assert "".join(line.strip() for line in lines[4:-2]) == long


def test_a_long_value_is_looked_at_in_part():
    assert len(brief("x" * 500_000)) == MOST_SHOWN + len(CUT)
    assert brief(None) == "None"


def test_a_terminal_has_tables(on_terminal, note):
    note.post((1, "[red]"), delay=3600, task_id="one")
    status, written = on_terminal("upcoming")
    assert status == 0
    assert "proj.note (1, '[red]')" in plain(written)
    assert "───" in written


class Context:
    """As much of a command's context as a table asks for."""

    obj = CLIContext(app=True, no_color=False, workdir=".")


def test_there_are_no_tables_without_rich_or_for_a_dumb_terminal(monkeypatch):
    tty = io.StringIO()
    tty.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", tty)
    monkeypatch.setenv("TERM", "xterm")
    assert show(Context, HEADS, [["then", "now", "task"]])
    assert "───" in tty.getvalue()
    monkeypatch.setenv("TERM", "dumb")
    assert terminal(Context) is None
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert terminal(Context) is None
    assert not show(Context, HEADS, [["then", "now", "task"]])


def test_a_pipe_has_plain_lines(quick, note):
    note.post_in(3600)
    assert "───" not in quick("upcoming").output
