"""django-celery-beat: entries run as before, and their tasks post; a countdown in an entry's options is not kept."""

import json

import pytest


@pytest.mark.parametrize("order", ["after"])
def test_the_task_of_an_entry_posts_and_an_entrys_countdown_is_dropped_by_its_model(
    start_worker, start_celery, run_apart, order
):
    run_apart("proj.make_entry(); result = None")
    start_worker(pool="threads")
    scheduler = "django_celery_beat.schedulers:DatabaseScheduler"
    beat = start_celery("beat", "-S", scheduler, "--pidfile=", "--max-interval=1")
    rows = run_apart("result = proj.wait_for_rows()")
    beat.stop()
    assert sorted([*json.loads(result), entry] for result, entry in rows) == [
        ["configured", False, "configured"],
        ["delayed", True, "each second"],
    ]
