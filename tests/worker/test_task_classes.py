"""The app's own task class is that of every task, however it was made: called, posted, and run in a worker."""

from pathlib import Path

import pytest
from rig.waiting import wait_until


@pytest.fixture
def worker_app(project_apart):
    return project_apart


@pytest.fixture
def call(start_worker, run_apart, redis_client):
    """What `call()` of the project returns, beside a worker, once the last confirm has arrived."""
    start_worker(pool="threads")
    result = run_apart("result = proj.call()")
    wait_until(lambda: not redis_client.exists("{dt:tasks:0}:events", "{dt:tasks:0}:taken"), "the last confirm")
    return result


def app_named(name):
    return pytest.mark.parametrize("app_file", [Path(__file__).parent / "apps" / name], ids=[name])


@app_named("own_class.py")
def test_a_class_with_its_own_call_and_apply_async_is_that_of_every_task(call):
    for name in ("by_app", "by_celery", "by_timer"):
        assert call[f"proj.{name}"] == ["for Ada: Ada"] * 4
    assert call["bound"] == "for Ada: Ada True"
    assert call["elsewhere"] == "in the other class: nobody"


@app_named("flask_shop.py")
def test_flasks_pattern_runs_every_task_in_an_application_context(call):
    assert call == {f"proj.{name}": ["Ada's shop"] * 2 for name in ("by_app", "by_celery", "by_timer")}


@app_named("django_shop.py")
def test_djangos_task_class_is_that_of_every_task_and_posts_after_the_transaction(call):
    assert call["results"] == {f"proj.{name}": ["DjangoTask"] * 2 for name in ("by_app", "by_celery", "by_timer")}
    assert call["before"] == [0, 1, 2]
    assert call["posted"] == 3
