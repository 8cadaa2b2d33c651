"""With the fixtures of celery.contrib.pytest: their own apps, and a worker."""

import time

import pytest

from celery_dtimer import dtimer_task


@pytest.fixture(scope="session")
def celery_config():
    return {"broker_url": "memory://", "result_backend": "cache+memory://", "dtimer_metrics_port": 9540}


@dtimer_task(name="slow")
def slow(left):
    time.sleep(0.02)
    if left:
        slow.post_in(3600, left - 1)
    return left


@dtimer_task(name="early", acks_late=False, bind=True, max_retries=2)
def early(self):
    time.sleep(0.02)
    if self.request.retries < 2:
        raise self.retry(countdown=60)
    return self.request.dtimer.lateness < 1


@dtimer_task(name="add")
def add(x, y):
    return x + y


@dtimer_task(name="once", max_redeliveries=0)
def once():
    time.sleep(0.02)
    raise ValueError("once")


@pytest.fixture
def worker(celery_worker):
    return celery_worker


def test_a_worker_runs_what_comes_due(worker, dtimer):
    began = dtimer.now
    result, first = slow.post_in(60, 2), early.post_in(30)
    fired = dtimer.advance(days=1)
    assert [(one.task, (one.at - began).total_seconds()) for one in fired] == [
        ("early", 30.0),
        ("slow", 60.0),
        ("early", 90.0),
        ("early", 150.0),
        ("slow", 3660.0),
        ("slow", 7260.0),
    ]
    assert (result.get(timeout=1), first.get(timeout=1)) == (2, True)
    assert dtimer.pending() == []


def test_what_a_worker_does_not_run_to_its_end(dtimer, celery_worker):
    dtimer.advance(days=30)
    failed, expired = once.post_in(60), add.post((1, 2), delay=60, expires=30, task_id="fixed", tags=["a"])
    kept = add.post((1, 2), delay=61, expires=90)
    with pytest.raises(ValueError, match="once"):
        dtimer.advance(60)
    assert (failed.state, expired.state) == ("FAILURE", "REVOKED")
    again = once.post_in(60)
    assert dtimer.fire(again, propagate=False).task == "once"
    assert dtimer.advance(1)[0].id == kept.id
    add.post((1, 2), delay=60, task_id="fixed")
    assert [one.id for one in dtimer.advance(60)] == ["fixed"]
    at_once = slow.post_in(0, 0)
    dtimer.advance(0)
    assert at_once.ready()
    dtimer.timer.hold(task="slow")
    with pytest.raises(LookupError, match="is held"):
        dtimer.fire(slow.post_in(0, 0))
    dtimer._in_worker._looks = 20
    once.post((), delay=60, queue="elsewhere")
    with pytest.raises(TimeoutError, match=r"Does it consume the queue[^$]*\nDue:\n  once\(\) in 0:00:00"):
        dtimer.advance(60)


def test_the_app_of_the_session(celery_session_app, dtimer):
    assert dtimer.app is celery_session_app

    @celery_session_app.task(name="add_session")
    def add(x, y):
        return x + y

    result = add.post_in(60, 1, 2)
    dtimer.advance(60)
    assert result.get(timeout=1) == 3


@pytest.mark.celery(task_always_eager=True)
def test_an_eager_app(celery_app, dtimer):
    @celery_app.task(name="add_eager")
    def add(x, y):
        return x + y

    result = add.post_in(60, 1, 2)
    assert not result.ready()
    dtimer.advance(60)
    assert result.get(timeout=1) == 3
    assert add.delay(1, 2).get() == 3
