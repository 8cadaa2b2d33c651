"""celery-redbeat, and Celery's beat: what an entry's countdown delays waits in the timer."""

import pytest


@pytest.mark.parametrize("order", ["before", "after"])
def test_entries_with_a_countdown_go_to_the_timer_and_entries_without_to_the_broker(
    start_worker, start_celery, run_apart, wait_for_results, order
):
    start_worker(pool="threads")
    beat = start_celery("beat", "-S", "redbeat.RedBeatScheduler", "--pidfile=", "--max-interval=1")
    run_apart("proj.add_entry(); result = None")
    seen = wait_for_results(lambda found: {"configured", "dynamic", "undelayed"} <= {name for name, _ in found})
    beat.stop()
    assert {tuple(each) for each in seen} == {("configured", True), ("dynamic", True), ("undelayed", False)}


def test_entries_of_celerys_own_beat_do_the_same(start_worker, start_celery, wait_for_results):
    start_worker(pool="threads")
    beat = start_celery("beat", "--pidfile=", "--max-interval=1")
    seen = wait_for_results(lambda found: {"configured", "undelayed"} <= {name for name, _ in found})
    beat.stop()
    assert {tuple(each) for each in seen} == {("configured", True), ("undelayed", False)}
