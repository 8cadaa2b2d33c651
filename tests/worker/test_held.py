"""Real workers and what is held: they leave it, at once, across restarts, and take it when it is resumed."""

import time

import pytest

from celery_dtimer import State


def test_workers_leave_a_held_task_and_a_held_queue_and_run_both_when_they_are_resumed(
    proj, timer, start_worker, wait_for_records, wait_until_empty
):
    worker = start_worker(pool="threads", queues="celery,mail", name="first")
    timer.hold(task=proj.note.name, why="it fails")
    timer.hold(queue="mail", why="the server is down")
    of_task, of_queue = proj.note.post_in(0.1), proj.nap.post((0,), delay=0.1, queue="mail")
    worker.term()
    worker.wait()
    start_worker(pool="threads", queues="celery,mail", name="second")
    assert proj.nap.post_in(0.3, 0).get(timeout=10) == 0
    assert len(wait_for_records(1)) == 1
    assert [result.peek().state for result in (of_task, of_queue)] == [State.PENDING] * 2
    assert timer.resume(task=proj.note.name)
    assert of_task.get(timeout=10) == [[], {}]
    assert of_queue.peek().state is State.PENDING
    assert timer.resume(queue="mail")
    assert of_queue.get(timeout=10) == 0
    wait_until_empty()


@pytest.mark.slow
def test_workers_obey_a_hold_within_a_second_in_the_midst_of_a_stream(
    proj, timer, start_worker, wait_for_records, wait_until_empty
):
    for name in ("first", "second"):
        start_worker(pool="threads", name=name)
    count = 80
    results = [proj.note.post_in(0.5 + number * 0.03) for number in range(count)]
    before = len(wait_for_records(10))
    timer.hold(task=proj.note.name)
    held_at = time.time()
    last = proj.nap.post_in(2.5, 0)  # due when all of the stream are overdue
    assert last.get(timeout=20) == 0
    resumed_at = time.time()
    timer.resume(task=proj.note.name)
    for result in results:
        result.get(timeout=20)
    starts = sorted(row["at"] for row in wait_for_records(count + 1) if row["id"] != last.id)
    assert before < count
    assert len(starts) == count
    assert [at for at in starts if held_at + 1 < at < resumed_at] == []
    assert starts[-1] > resumed_at
    wait_until_empty()
