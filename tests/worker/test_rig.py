"""The rig itself, with plain Celery: what later tests take for granted about nodes that are processes."""

import os
import signal
import textwrap
from pathlib import Path

import psutil
import pytest
from celery import Celery, chord
from celery.result import AsyncResult
from pytest_celery import add, ping, sleep, xsum
from rig.processes import gone
from rig.recipes import IMPORTED
from rig.waiting import wait_until

from celery_dtimer.testing.nodes.adapting import living_results

pytest_plugins = ["pytester"]

TESTS = Path(__file__).parents[1]

#: What other tests stand on fails in those too.
pytestmark = pytest.mark.slow


@pytest.fixture
def app_file():
    return TESTS / "worker" / "apps" / "plain.py"


def test_a_task_runs_on_the_setup_of_pytest_celery(celery_setup):
    assert celery_setup.ready(ping=True, control=True, docker=True)
    assert add.s(1, 2).apply_async().get(timeout=10) == 3
    celery_setup.worker.assert_log_exists("succeeded in", timeout=5)
    assert celery_setup.broker.container.client.ping()
    assert len(celery_setup) == 3


def test_results_are_found_at_the_end_among_objects_that_do_not_say_what_they_are():
    class Lazy:
        @property
        def __class__(self):
            raise RuntimeError("not configured")

    lazy, result = Lazy(), AsyncResult("x", app=Celery(set_as_current=False))
    assert any(each is result for each in living_results())
    assert not any(each is lazy for each in living_results())


def test_a_further_worker_joins_the_setup_of_pytest_celery(celery_setup, start_worker):
    further = start_worker(pool="solo", name="further")
    answers = celery_setup.app.control.ping(timeout=5, limit=2)
    names = {name for answer in answers for name in answer}
    assert names == {celery_setup.worker.hostname(), further.hostname()}


def test_a_chord_runs_on_the_setup_of_pytest_celery(celery_setup):
    assert chord((add.s(i, i) for i in range(5)), xsum.s()).apply_async().get(timeout=10) == 20


def test_a_killed_worker_takes_its_pool_along_and_can_be_restarted(celery_setup):
    worker = celery_setup.worker
    assert ping.delay().get(timeout=10) == "pong"
    children = worker.pool_pids()
    assert children
    assert {process["pid"] for process in worker.get_running_processes_info(["pid"])} >= {
        worker.pid,
        *children,
    }
    worker.kill()
    assert worker.container.status == "exited"
    wait_until(lambda: all(gone(pid) for pid in children), "the pool children to be gone")
    worker.restart()
    assert add.s(2, 3).apply_async().get(timeout=10) == 5


def test_a_restart_of_a_running_worker_waits_until_it_is_ready_again(celery_setup):
    worker = celery_setup.worker
    before = worker.pid
    worker.restart()
    assert worker.pid != before
    assert worker.logs().count("ready.") == 2


def test_workers_find_a_restarted_broker_again(celery_setup):
    assert celery_setup.ready(ping=True)
    celery_setup.broker.restart()
    celery_setup.worker.assert_log_exists("Connection to broker lost", timeout=20)
    assert add.s(2, 2).apply_async().get(timeout=20) == 4


def test_a_worker_outlives_its_killed_pool_child(celery_setup):
    worker = celery_setup.worker
    sleep.delay(30)
    worker.wait_for_log("sleep[", timeout=10)
    for pid in worker.pool_pids():
        os.kill(pid, signal.SIGKILL)
    worker.assert_log_exists("WorkerLostError", timeout=10)
    assert worker.running


def test_workers_of_every_pool_run_the_project_of_a_test(worker_app, start_worker):
    for pool in ["prefork", "threads", "solo"]:
        worker = start_worker(pool=pool, queues=pool)
        ran_in = worker_app.module.process_id.apply_async(queue=pool).get(timeout=10)
        assert ran_in in (worker.pool_pids() if pool == "prefork" else [worker.pid])


def test_two_workers_share_the_work(worker_app, start_worker):
    workers = [start_worker(pool="threads", concurrency=1) for _ in range(2)]
    naps = [worker_app.module.nap.delay(0.3) for _ in range(6)]
    assert [nap.get(timeout=10) for nap in naps] == [0.3] * 6
    for worker in workers:
        worker.assert_log_exists("succeeded in", timeout=5)


def test_a_warm_shutdown_lets_the_running_task_finish(worker_app, start_worker):
    worker = start_worker()
    nap = worker_app.module.nap.delay(2)
    # What Celery has received, and its pool has not accepted yet, goes back to the broker.
    wait_until(lambda: any((worker_app.app.control.inspect(limit=1).active() or {}).values()), "the task to run")
    worker.term()
    assert worker.wait() == 0
    assert nap.get(timeout=5) == 2
    assert "Warm shutdown" in worker.logs()


def test_a_paused_worker_does_nothing_until_it_is_resumed(worker_app, start_worker):
    worker = start_worker(pool="solo")
    worker.pause()
    assert psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED
    answer = worker_app.module.add.delay(1, 1)
    assert not answer.ready()
    worker.resume()
    assert answer.get(timeout=10) == 2


def test_a_worker_is_told_where_the_timer_is_and_what_the_test_adds(worker_app, redis_url, start_worker):
    start_worker(pool="solo", env={"ADDED": "yes"})
    variable = worker_app.module.variable
    assert [variable.delay(name).get(timeout=10) for name in ("DTIMER_URL", "ADDED")] == [redis_url, "yes"]


def test_a_worker_tells_its_memory(start_worker):
    assert 10_000_000 < start_worker(pool="solo").rss() < 1_000_000_000


def test_a_worker_that_cannot_start_is_an_error_with_its_log(start_worker):
    with pytest.raises(AssertionError, match=r"(?s)ended before it was ready.*no_such_module"):
        start_worker(app_module="no_such_module")


def test_a_worker_can_run_another_module_of_the_project(worker_app, start_worker):
    (worker_app.folder / "renamed.py").write_text("from proj import app\n", encoding="utf-8")
    start_worker(pool="solo", app_module="renamed")
    assert worker_app.module.add.delay(3, 4).get(timeout=10) == 7


@pytest.mark.parametrize("broker_transport", ["filesystem"])
def test_workers_can_use_a_broker_of_files(worker_app, start_worker):
    workers = [start_worker(pool="threads", concurrency=1) for _ in range(2)]
    answers = [worker_app.module.add.delay(number, 1) for number in range(4)]
    assert [answer.get(timeout=10) for answer in answers] == [1, 2, 3, 4]
    assert all(worker.running for worker in workers)


@pytest.mark.parametrize("broker_transport", ["memory"])
def test_a_worker_can_have_a_broker_in_its_own_memory(start_worker):
    assert "memory://" in start_worker(pool="solo").logs()


@pytest.mark.parametrize("broker_transport", ["redis node"])
def test_a_project_can_use_a_broker_that_the_test_breaks(celery_redis_broker, worker_app, start_worker):
    worker = start_worker(pool="solo")
    celery_redis_broker.kill()
    worker.wait_for_log("Connection to broker lost", timeout=20)
    celery_redis_broker.restart()
    assert worker_app.module.add.delay(1, 1).get(timeout=20) == 2


def test_the_report_of_a_failed_test_has_the_log_of_its_worker_and_the_worker_is_ended(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", IMPORTED)
    pytester.makeconftest((TESTS / "conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile(
        textwrap.dedent(
            """
            from pathlib import Path

            def test_fails(worker_app, start_worker):
                worker = start_worker(pool="prefork", name="unlucky")
                Path("pids").write_text(" ".join(map(str, [worker.pid, *worker.pool_pids()])))
                assert False
            """
        )
    )
    result = pytester.runpytest_subprocess("-p", "no:valkey")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*log of celery -A proj worker*", "*unlucky@*ready.*"])
    pids = [int(word) for word in (pytester.path / "pids").read_text(encoding="utf-8").split()]
    assert len(pids) == 3
    assert all(gone(pid) for pid in pids)
