"""Messages of protocol 1 are the timer's as those of protocol 2 are."""

from pathlib import Path

import pytest

from celery_dtimer import get_timer
from celery_dtimer.extension import DELIVERY_HEADER


@pytest.fixture
def app_file():
    return Path(__file__).parent / "apps" / "protocol1.py"


def test_a_task_of_protocol_1_is_posted_taken_over_fired_and_retried(proj, start_worker, wait_until_empty):
    start_worker(pool="threads")
    headers = {"mine": "kept"}
    results = {
        "posted": proj.look.post(("posted",), delay=0.2, headers=headers),
        "taken over": proj.look.apply_async(("taken over",), countdown=0.2, headers=headers),
        "sent": proj.look.apply_async(("sent",), headers=headers),
        "retried": proj.again.post(("retried",), delay=0.2, headers=headers),
        "retried natively": proj.again.apply_async(("retried natively",), headers=headers),
    }
    ran = {name: result.get(timeout=30) for name, result in results.items()}
    assert ran == {
        "posted": ["posted", True, 0, "kept"],
        "taken over": ["taken over", True, 0, "kept"],
        "sent": ["sent", False, 0, "kept"],
        "retried": ["retried", True, 1, "kept"],
        "retried natively": ["retried natively", True, 1, "kept"],
    }
    assert (proj.look.s(1) | proj.look.s()).set(countdown=0.2).delay().get(timeout=30)[0] == [1, True, 0, None]
    wait_until_empty()


def test_a_task_of_protocol_1_that_is_unknown_is_left_to_a_worker_that_knows_it(proj, start_worker, wait_until_empty):
    old = start_worker(pool="threads", name="old")
    result = proj.app.send_task("proj.newcomer", ("new",), countdown=0.2)
    old.wait_for_log("does not know the task 'proj.newcomer'")
    start_worker(pool="threads", name="new", env={"KNOWS_NEWCOMER": "1"})
    assert result.get(timeout=30) == ["new", True, 0, None]
    wait_until_empty()


def test_a_task_of_protocol_1_that_was_renamed_runs_by_its_new_name(proj, start_worker, wait_until_empty):
    result = proj.app.send_task("proj.oldlook", ("renamed",), countdown=0.2)
    start_worker(pool="threads", env={"TASK_ALIASES": '{"proj.oldlook": "proj.look"}'})
    assert result.get(timeout=20) == ["renamed", True, 0, None]
    wait_until_empty()


@pytest.mark.parametrize("options", [{}, {"serializer": "msgpack"}, {"compression": "zlib"}])
def test_a_task_of_protocol_1_is_listed_by_its_name_and_arguments(proj, options):
    result = proj.look.post(("listed",), delay=60, **options)
    [event] = [event for event in get_timer(proj.app).upcoming() if event.id == result.id]
    assert (event.task, event.args, event.kwargs) == ("proj.look", "['listed']", "{}")
    assert result.peek().task == "proj.look"
    assert result.cancel()


def test_a_pickled_task_of_protocol_1_is_not_read_to_list_it(proj):
    result = proj.look.post(("listed",), delay=60, serializer="pickle")
    assert result.peek().task is None
    assert result.cancel()


def test_a_users_header_of_the_timers_name_is_not_kept_in_protocol_1_either(proj, start_worker):
    start_worker(pool="threads")
    result = proj.look.post(("forged",), delay=0.2, headers={DELIVERY_HEADER: "forged"})
    assert result.get(timeout=30) == ["forged", True, 0, None]
