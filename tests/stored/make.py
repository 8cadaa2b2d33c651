"""Writes what this code stores, before a release: ``VERSION=0.2 .venv/bin/python -m pytest tests/stored/make.py``.

Real workers bring it about. The file stays as it is afterwards: later code has to read it.
"""

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dump import HERE, dump
from rig.waiting import wait_until

from celery_dtimer import DTimer

LATER = datetime(2096, 10, 2, tzinfo=UTC)


@pytest.fixture
def app_file():
    return HERE / "shop.py"


@pytest.mark.timeout(120)
def test_write_what_is_stored(proj, timer, start_worker, redis_client, redis_url, expected_keys):
    expected_keys.append("{*")
    broken = start_worker(name="broken", pool="solo", env={"BROKEN": "1"})
    proj.charge.post(("parked",), delay=0, task_id="parked", tags=["order:parked"])
    proj.retried.post(("retried",), delay=0, task_id="retried")
    wait_until(lambda: timer.count().parked == 1 and len(timer.upcoming()) == 1, "one is parked, and one retried")
    proj.remind.post(("leased",), {"sleep": 60}, delay=0, task_id="leased", tags=["order:leased"])
    wait_until(lambda: any(row["id"] == "leased" for row in proj.records()), "the lease")
    broken.kill()
    timer.hold(queue="held", why="until the printer is back", by="ops@example")
    timer.hold(task="shop.report", why="numbers are wrong", by="ops@example")
    proj.remind.post(("held",), delay=0, task_id="held", queue="held")
    proj.report.post(("held task",), delay=0, task_id="held-task")
    # A claim comes past it, and puts it into its band.
    idle = start_worker(name="idle", pool="solo", queues="celery", env={"CONFIRM_TIMEOUT": "60"})
    proj.report.post(("held task 2",), delay=0, task_id="held-task-2")
    proj.remind.post(("barrier",), delay=0.1, task_id="barrier").get(timeout=20)
    wait_until(lambda: timer.peek("barrier") is None, "the confirm")
    idle.kill()
    proj.remind.post(("tagged",), {"text": "ünï"}, eta=LATER, task_id="tagged", tags=["order:7", "urgent"])
    proj.remind.post(("moved",), eta=LATER, task_id="moved", on_conflict="postpone", max_wait=3_000_000_000)
    proj.remind.post(("due",), delay=0, task_id="due")
    timer.limit_catch_up(50, after=5, why="after the outage", by="ops@example")
    with DTimer(redis_url, namespace="plain") as plain:
        plain.post(b"\xff\x00", eta=LATER, id="pending", kind="mail", tags=["order:7"])
        plain.post("due", delay=0, id="due", queue="mails", max_redeliveries=0)
        counts = {"dt": asdict(timer.count()), "plain": asdict(plain.count())}
    file = Path(HERE / f"{os.environ['VERSION']}.json")
    file.write_text(json.dumps({"counts": counts, "keys": dump(redis_client)}, indent=1) + "\n", encoding="utf-8")
