"""The reference's pages that are written by hand have all that the code has."""

import inspect
import re

import pytest
from pages import REPOSITORY

from celery_dtimer import errors, signals

REFERENCE = REPOSITORY / "docs" / "reference"
ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DTimerError)]


@pytest.mark.parametrize("kind", ERRORS)
def test_the_attributes_of_an_error_are_in_its_section(kind):
    text = (REFERENCE / "errors.md").read_text("utf-8")
    section = text.split(f"\n## {kind.__name__}\n", 1)[1].split("\n## ", 1)[0]
    parameters = inspect.signature(kind.__init__).parameters.values() if "__init__" in vars(kind) else ()
    attributes = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    assert [name for name in attributes if f"`{name}`" not in section] == []


@pytest.mark.parametrize("name", signals.__all__)
def test_the_arguments_of_a_signal_are_in_its_row(name):
    text = (REFERENCE / "signals.md").read_text("utf-8")
    [row] = re.findall(rf"^\| `{name}` \|(.*)\|$", text, re.MULTILINE)
    arguments = set(re.findall(r"`(\w+)`", row.rsplit("|", 1)[1]))
    assert arguments - {"State"} == getattr(signals, name).providing_args - {"id", "queue", "task"}
