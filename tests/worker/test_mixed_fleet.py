"""Workers of the previous commit, of this one, and without the extension, on the same Redis and broker."""

import os
import subprocess
import tarfile
from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
from rig.projects import UNGUARDED

from celery_dtimer.timer.storing.calls import LAYOUT

ROOT = Path(__file__).parents[2]

#: What a deploy replaces: the commit before this one, unless another is named.
PREVIOUS = os.environ.get("DTIMER_PREVIOUS", "HEAD~1")

EVENTS = 2000


@pytest.fixture
def previous(tmp_path):
    """A folder with the previous commit's package."""
    made = subprocess.run(["git", "archive", PREVIOUS, "celery_dtimer"], cwd=ROOT, capture_output=True, check=False)
    assert made.returncode == 0, f"no commit {PREVIOUS}: {made.stderr.decode()} (a shallow clone?)"
    with tarfile.open(fileobj=BytesIO(made.stdout)) as archive:
        archive.extractall(tmp_path / "previous", filter="data")
    code = "".join(file.read_text("utf-8") for file in (tmp_path / "previous").rglob("*.py"))
    if f"\nLAYOUT = {LAYOUT}\n" not in code:
        pytest.skip(f"{PREVIOUS} has another layout than {LAYOUT}: the two refuse each other's namespaces")
    return tmp_path / "previous"


def older(worker_app, previous):
    """The app as the previous commit runs it: its package goes before the repository's."""
    (worker_app.folder / "older.py").write_text(
        f"import sys\nsys.path.insert(0, {str(previous)!r})\n"
        # The celery command has loaded this commit's package already: it is where its own commands come from.
        "for name in [name for name in sys.modules if name.partition('.')[0] == 'celery_dtimer']:\n"
        "    del sys.modules[name]\n"
        "import celery_dtimer\n"
        f"assert celery_dtimer.__file__.startswith({str(previous)!r}), celery_dtimer.__file__\n"
        "from proj import app\n"
    )
    return "older"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_previous_commit_and_this_one_share_two_thousand_events(
    proj, start_worker, worker_app, previous, wait_until_empty
):
    old = start_worker(name="old", app_module=older(worker_app, previous), env={"CONFIRM_TIMEOUT": "3", UNGUARDED: "1"})
    new = start_worker(name="new", env={"CONFIRM_TIMEOUT": "3"})
    # This one posts, and so does the other: from within a task that it runs.
    # All of them are acknowledged late: what a killed worker had begun is run again.
    posted = [proj.shared.post_in(n / 500, n).id for n in range(EVENTS // 2)]
    chained = [proj.chained.post_in(n / 500, 0.5, n).id for n in range(EVENTS // 4)]
    # One of each dies in the middle, and what it held is the other's.
    old.kill()
    old.restart()
    new.kill()
    new.restart()
    wait_until_empty(60)
    runs = Counter(row["id"] for row in proj.records())
    assert set(posted) | set(chained) <= set(runs)
    assert len(runs) >= len(posted) + 2 * len(chained)
    workers = Counter(row["worker"].partition("@")[0] for row in proj.records())
    print(f"{sum(workers.values())} runs of {len(runs)} tasks: {dict(workers)}")
    assert min(workers["old"], workers["new"]) > 0


def test_a_worker_without_the_extension_is_not_disturbed(proj, start_worker, worker_app, timer, wait_until_empty):
    (worker_app.folder / "plain.py").write_text(
        "import json, os\nfrom celery import Celery\n"
        "app = Celery('plain', broker=os.environ['BROKER_URL'], backend=os.environ['RESULT_BACKEND'])\n"
        "@app.task(name='proj.note')\ndef note(*args, **kwargs):\n    return 'plain'\n"
    )
    start_worker(app_module="plain", name="plain")
    assert proj.note.delay(1).get(timeout=10) == "plain"
    posted = proj.note.post_in(0.2, 2)
    assert proj.note.apply_async((3,), countdown=1.0).get(timeout=10) == "plain"
    assert posted.peek() is not None
    start_worker(name="with", queues="celery")
    assert posted.get(timeout=10) == [[2], {}]
    wait_until_empty()
