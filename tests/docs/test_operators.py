"""What the pages tell an operator to look for exists: findings of the doctor, alerts."""

import re

import yaml
from pages import REPOSITORY

from celery_dtimer.operating.doctor_kinds import KINDS

HOW_TO = REPOSITORY / "docs" / "how-to"


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
