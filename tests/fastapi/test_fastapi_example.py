"""examples/fastapi: its requests, and the worker that runs what they post."""

import shutil
from pathlib import Path

import pytest
from rig.waiting import wait_until

EXAMPLE = Path(__file__).parents[2] / "examples" / "fastapi"


@pytest.fixture
def app_file(tmp_path):
    """A module that nobody asks for: the example has a name of its own."""
    file = tmp_path / "unused.py"
    file.write_text("")
    return file


@pytest.fixture
def worker_app(project_apart, redis_server):
    shutil.copy(EXAMPLE / "shop.py", project_apart.folder)
    redis = redis_server.url_of(0).removesuffix("/0")
    project_apart.environment.update(REDIS_URL=redis, SHOP_REMIND_AFTER="600")
    return project_apart


@pytest.mark.slow
def test_reminders_are_posted_shown_moved_and_taken_back_and_the_one_that_is_due_is_sent(
    worker_app, start_worker, run_apart, redis_server
):
    start_worker(pool="threads", app_module="shop.celery_app")
    code = """
import shop
from fastapi.testclient import TestClient
with TestClient(shop.app) as client:
    made = client.post("/orders/17")
    result = [made.status_code, made.json()["state"], client.post("/orders/17").status_code]
    result += [client.get("/orders/17/reminder").json() == made.json(), client.get("/orders/18/reminder").status_code]
    moved = client.patch("/orders/17/reminder", params={"delay": 1200}).json()
    result += [moved["due_at"] > made.json()["due_at"]]
    result += [client.delete("/orders/17/reminder").status_code for _ in range(2)]
    client.post("/orders/19")
    client.patch("/orders/19/reminder", params={"delay": 0})
    result += [shop.reminder_of("19").get(timeout=30)]
"""
    expected = [201, "pending", 409, True, 404, True, 204, 409, "please pay 19"]
    assert run_apart(code) == expected
    with redis_server.client() as client:
        wait_until(lambda: not client.exists("{dt:tasks:0}:leased"), "the last confirm")
