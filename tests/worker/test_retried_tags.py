"""A task that retries keeps its tags."""

from rig.waiting import wait_until

from celery_dtimer import State


def test_a_retry_keeps_the_tags_of_its_event(proj, start_worker, timer, wait_for_records, wait_until_empty):
    start_worker(pool="threads", name="one")
    for most in (None, 0):  # 0: without a lease, and without a record while it runs
        result = proj.stubborn.post((2, 3600), delay=0, tags=["order:42"], max_redeliveries=most)
        wait_for_records(1 if most is None else 2)
        wait_until(lambda: timer.count().pending == 1, "the retry to be stored")
        assert result.peek().state is State.PENDING
        assert result.peek().tags == ("order:42",)
        assert [bool(answer) for answer in timer.cancel_many(tag="order:42")] == [True]
    wait_until_empty()
