"""The commands over SQS, which carries no remote control: those that ask Redis work, no worker answers the others."""

import json

import pytest
from celery.bin.celery import celery
from click.testing import CliRunner


@pytest.fixture
def broker_transport():
    return "sqs"


@pytest.fixture
def typed(worker_app):
    """Runs a command of the project in this process: its status, and its answer in JSON."""

    # Celery's command writes these into the environment, and leaves them there.
    kept = dict.fromkeys(("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"))

    def typed(*arguments):
        shown = CliRunner().invoke(celery, ["-A", "proj", "dtimer", *arguments, "--json"], env=kept)
        return shown.exit_code, json.loads(shown.stdout)

    return typed


def test_over_sqs_tasks_are_seen_and_changed_and_the_probe_finds_a_worker_by_its_listener(proj, start_worker, typed):
    worker = start_worker(name="one").hostname()
    task_id = proj.note.post_in(3600, 1).id
    assert [task["id"] for task in typed("upcoming")[1]] == [task_id]
    assert typed("peek", task_id)[1]["state"] == "pending"
    assert typed("move", task_id, "--delay", "7200")[0] == 0
    assert typed("hold", "-Q", "celery")[0] == typed("resume", "-Q", "celery")[0] == 0
    assert typed("doctor")[1]["workers"] == []
    status, told = typed("doctor", "--live", "-d", worker)
    assert (status, told["live"], told["silent"]) == (0, True, [worker])
    assert typed("doctor", "--live", "-d", "nobody@here")[0] == 2
    assert typed("cancel", task_id)[0] == 0
