"""A key with on_conflict="postpone" is a debounce: many posts, one run."""

import pytest
from rig.waiting import wait_until

POSTS = 1000


@pytest.fixture(autouse=True)
def worker(start_worker):
    return start_worker(pool="threads")


def test_a_thousand_posts_of_one_key_run_once_at_the_last_post_and_the_delay(
    proj, timer, wait_for_records, wait_until_empty
):
    results = [proj.debounced.post_in(2.0, "books") for _ in range(POSTS)]
    assert {result.id for result in results} == {"debounced:books"}
    assert timer.count().pending == 1
    due = timer.peek("debounced:books").due_at.timestamp()
    wait_until_empty()
    (row,) = wait_for_records(1)
    assert row["due"] == due
    assert row["id"] == "debounced:books"


def test_posts_that_never_pause_run_once_at_the_first_post_and_max_wait(proj, timer, wait_for_records):
    def post():
        return proj.debounced.post(("books",), delay=1.5, max_wait=2.5)

    post()
    first = timer.peek("debounced:books").due_at.timestamp() - 1.5

    wait_until(lambda: post() and proj.records(), "the first run amid posts")
    timer.cancel("debounced:books")  # what was posted after it
    (row,) = wait_for_records(1)
    assert row["due"] == pytest.approx(first + 2.5, abs=0.001)


def test_a_retry_keeps_the_id_that_its_key_made(proj, wait_for_records, wait_until_empty):
    proj.debounced.post_in(0, "books", runs=3)
    rows = wait_for_records(3)
    assert {row["id"] for row in rows} == {"debounced:books"}
    assert [row["retries"] for row in rows] == [0, 1, 2]
    wait_until_empty()
