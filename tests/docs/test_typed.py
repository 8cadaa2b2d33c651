"""What the pages tell people to type, and to look for, exists: commands with their options, findings, alerts."""

import re
import shlex

import click
import pytest
import yaml
from pages import DOCS, PAGES, REPOSITORY

from celery_dtimer.operating.cli import dtimer
from celery_dtimer.operating.doctor_kinds import KINDS

HOW_TO = REPOSITORY / "docs" / "how-to"

_TYPED = re.compile(r"celery -A \w+ dtimer ([a-z][^`\n]*)")
#: A comment behind a command, a redirection, another program, dots, or the end of a list in YAML.
_BEHIND = re.compile(r"\s+(#|\||>|\.\.\.).*|\"\]$")


def typed(page):
    """The commands of a page that are complete: lines with brackets show what there is, and are made by the tools."""
    found = _TYPED.findall(page.read_text("utf-8"))
    return [_BEHIND.sub("", text).strip() for text in found if not re.search(r"[\[(|]", _BEHIND.sub("", text))]


@pytest.mark.parametrize("page", [page for page in PAGES if typed(page)], ids=lambda page: page.name)
def test_every_command_that_a_page_types_exists_with_its_options(page):
    for text in typed(page):
        name, *arguments = shlex.split(text)
        assert name in dtimer.commands, text
        command = dtimer.commands[name]
        try:
            command.make_parser(click.Context(command)).parse_args(arguments)
        except click.UsageError as exc:
            pytest.fail(f"{text}: {exc.format_message()}")


def test_there_is_such_a_command_on_many_pages():
    assert sum(map(len, map(typed, DOCS))) > 60


def test_every_finding_that_the_incident_page_names_exists():
    rows = re.findall(r"^\| `doctor`: (.*?) \|", (HOW_TO / "late.md").read_text("utf-8"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z]+(?:-[a-z]+)+)`", row)}
    assert named
    assert named <= set(KINDS)


def test_every_alert_has_its_first_command_on_the_page():
    rules = yaml.safe_load((REPOSITORY / "docs" / "operating" / "prometheus-rules.yml").read_text("utf-8"))
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    page = (HOW_TO / "monitoring.md").read_text("utf-8")
    rows = re.findall(r"^\| (`CeleryDTimer.*?) \|", page, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == alerts
