"""An app whose tasks wait in a timer, and the commands of its operator."""

import os
import subprocess
import sys

import pytest
from celery.bin.celery import celery
from click.testing import CliRunner
from rig.recipes import IMPORTED
from rig.terminals import run_on_terminal

from celery_dtimer import get_timer


@pytest.fixture
def note(worker_app):
    """A task of the project; what waits of it is cancelled after the test."""
    yield worker_app.module.note
    timer = get_timer(worker_app.app)
    for event in timer.upcoming(limit=10_000):
        timer.cancel(event.id)


@pytest.fixture
def command(worker_app):
    """Runs ``celery -A proj dtimer`` in the project's folder."""

    def command(*arguments, app="proj", **environment):
        path = os.pathsep.join([IMPORTED, os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-m", "celery", "-A", app, "dtimer", *arguments],
            cwd=worker_app.folder,
            env={**os.environ, "PYTHONPATH": path, **worker_app.environment, **environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return command


@pytest.fixture
def on_terminal(worker_app):
    """Runs the command on a terminal of 80 columns: its status, and what it wrote. ``path`` goes before all imports."""

    def on_terminal(*arguments, path="", **options):
        found = os.pathsep.join([str(path), IMPORTED, os.environ.get("PYTHONPATH", "")]).lstrip(os.pathsep)
        return run_on_terminal(
            [sys.executable, "-m", "celery", "-A", "proj", "dtimer", *arguments],
            cwd=worker_app.folder,
            env={**os.environ, **worker_app.environment, "PYTHONPATH": found},
            **options,
        )

    return on_terminal


@pytest.fixture
def quick(worker_app):
    """The same command in this process, for what does not depend on being a process of its own."""

    # Celery's command writes these into the environment, and leaves them there.
    kept = dict.fromkeys(("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"))

    def quick(*arguments, **options):
        return CliRunner().invoke(celery, ["-A", "proj", "dtimer", *arguments], env=kept, **options)

    return quick


@pytest.fixture
def leased(note, redis_client):
    """A task in the hands of a worker; it is confirmed after the test."""
    result = note.post((1,), delay=0, task_id="leased")
    store = get_timer(result.app).shards[0]
    queue = result.peek().queue
    call = store.claim([queue], listener="l", holder="holder@host", nonce="n", room=1, lease_ms=60_000, ahead_ms=1000)
    [delivery] = store.read_claim(store.ask(call), [queue]).deliveries
    yield result
    store.ask(store.confirm(queue, [delivery]))
