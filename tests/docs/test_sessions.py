"""Every command has a recorded session, and the pages show it. The recording itself is docs/sessions/make.py."""

import runpy

import pytest
from pages import PAGES, REPOSITORY
from rig.terminals import WIDTH

from celery_dtimer.operating.cli import dtimer
from celery_dtimer.operating.printing import columns

FOLDER = REPOSITORY / "docs" / "sessions"
SESSIONS = {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.txt"))}
AGAIN = "run python docs/sessions/make.py"


@pytest.fixture(scope="module")
def make():
    return runpy.run_path(str(FOLDER / "make.py"))


def test_every_command_has_a_session(make):
    assert set(SESSIONS) == set(dtimer.commands), AGAIN
    assert {session for session, _ in make["TYPED"]} == set(SESSIONS), AGAIN


def test_the_pages_show_every_session_as_it_was_recorded(make):
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    assert [name for name in SESSIONS if f"<!-- session: {name} -->" not in text] == []
    assert make["with_sessions"](text, SESSIONS) == text, AGAIN


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_has_what_was_typed_and_fits_its_terminal(make, name):
    lines = SESSIONS[name].splitlines()
    typed = [f"$ celery -A shop dtimer {typed}" for session, typed in make["TYPED"] if session == name]
    assert [line for line in lines if line.startswith("$ ")] == typed, AGAIN
    assert "Traceback" not in SESSIONS[name]
    assert all(line.isprintable() for line in lines)
    tables = [line for line in lines if line.startswith(" ") and "──" in SESSIONS[name]]
    assert all(columns(line) <= WIDTH for line in tables)
