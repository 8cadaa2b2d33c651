"""``revoke`` of a task that waits in the timer, by remote control, cancels it for good."""

import time
from contextlib import suppress

import pytest
from celery import states
from celery.exceptions import TaskRevokedError
from rig.pools import pools
from rig.waiting import wait_until
from rig.workers import QUICK_START


@pytest.mark.parametrize("pool", pools("threads"))
def test_a_revoked_task_is_out_of_the_timer_and_its_waiter_is_told(proj, start_worker, timer, pool):
    workers = [start_worker(pool=pool) for _ in range(2)]

    def lines():
        return sum(worker.logs().count("revoked tasks are cancelled") for worker in workers)

    result, other = proj.note.post_in(3600), proj.note.post_in(3600)
    result.revoke()
    wait_until(lambda: result.peek() is None, "the timer to have forgotten the task")
    with pytest.raises(TaskRevokedError):
        result.get(timeout=10)
    wait_until(lambda: lines() == 1, "one worker to say that it cancelled the task")
    assert other.cancel()


def test_terminate_and_a_list_of_ids_and_ids_that_are_none_do_the_same(proj, start_worker, timer):
    worker = start_worker(pool="threads")
    results = [proj.note.post_in(3600) for _ in range(3)]
    proj.app.control.revoke([results[0].id, "", "x" * 500, "unknown", results[1].id], terminate=True, reply=True)
    proj.app.control.broadcast("terminate", arguments={"signal": "TERM", "task_id": results[2].id}, reply=True)
    wait_until(lambda: timer.count().pending == 0, "all to be cancelled")
    assert {result.state for result in results} == {states.REVOKED}
    assert "Traceback" not in worker.logs()


def test_monitors_see_the_revoked_task(proj, start_worker):
    start_worker(pool="threads", arguments=(*QUICK_START, "-E"))
    result, seen = proj.note.post_in(3600), []
    with proj.app.connection_for_read() as connection:
        receiver = proj.app.events.Receiver(connection, handlers={"task-revoked": seen.append})
        with receiver.consumer_context() as (draining, _, _):

            def told():
                with suppress(TimeoutError):
                    draining.drain_events(timeout=0.1)
                return [event["uuid"] for event in seen]

            told()  # over Redis, a receiver subscribes when it first looks
            result.revoke()
            assert wait_until(told, "the monitoring event") == [result.id]


class TestWithoutRedis:
    @pytest.fixture
    def server(self, start_redis):
        return start_redis()

    @pytest.fixture
    def timer_url(self, server):
        return server.url

    def test_a_worker_answers_and_goes_on_while_the_timers_redis_hangs(self, proj, start_worker, server):
        worker = start_worker(pool="threads")
        server.pause()
        start = time.monotonic()
        assert proj.app.control.revoke("some-id", reply=True, timeout=5, limit=1)
        assert time.monotonic() - start < 4
        assert proj.note.delay(1).get(timeout=10)
        server.resume()
        assert "Traceback" not in worker.logs()
