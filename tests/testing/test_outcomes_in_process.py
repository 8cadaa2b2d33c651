"""What becomes of a task that a test runs without a worker: as docs/outcomes.md has it of one that has."""

import pytest
from celery.exceptions import Ignore, Reject
from celery.worker import state
from celery.worker import state as worker_state
from celery.worker.request import Request

from celery_dtimer import State, signals
from celery_dtimer.testing import virtual_timer


class OwnError(Exception):
    """It can't be pickled."""

    def __init__(self, one, other):
        super().__init__(one, other)
        self.other = other


def test_the_error_of_a_task_is_raised_at_its_instant(app, dtimer, note, ran):
    @app.task(name="fail")
    def fail():
        raise OwnError(1, 2)

    failed = fail.post_in(60)
    note.post_in(120, "next")
    began = dtimer.now
    with pytest.raises(OwnError) as caught:
        dtimer.advance(days=1)
    assert caught.value.other == 2
    assert "fail" in [entry.name for entry in caught.traceback]
    assert (dtimer.now - began).total_seconds() == 60
    assert (failed.state, ran) == ("FAILURE", [])
    dtimer.advance(days=1)
    assert ran == [("next", 120.0)]


def test_an_error_is_in_the_result_alone_if_it_is_not_to_be_raised(app, dtimer):
    @app.task(name="fail")
    def fail():
        raise ValueError("no")

    failed = fail.post_in(60)
    assert [task.id for task in dtimer.advance(60, propagate=False)] == [failed.id]
    with pytest.raises(ValueError, match="no"):
        failed.get(timeout=1)
    again = fail.post_in(0)
    assert dtimer.fire(again, propagate=False).id == again.id
    assert dtimer.advance(1) == []


def test_the_last_retry_raises(app, dtimer, ran):
    @app.task(name="flaky", autoretry_for=(ValueError,), max_retries=2, default_retry_delay=60)
    def flaky():
        ran.append(1)
        raise ValueError("still")

    flaky.post_in(60)
    dtimer.advance(120)
    with pytest.raises(ValueError, match="still"):
        dtimer.advance(days=1)
    assert len(ran) == 3


def test_a_requeued_task_is_redelivered_after_a_while(app, dtimer, ran):
    @app.task(name="requeue", bind=True, acks_late=True)
    def requeue(self):
        ran.append(self.request.dtimer.redeliveries)
        if len(ran) < 3:
            raise Reject(requeue=True)

    result = requeue.post_in(60)
    dtimer.advance(60)
    assert result.peek().redeliveries == 1
    dtimer.advance(60)
    assert ran == [0, 1, 2]
    assert result.peek() is None


def test_a_rejected_task_is_parked(app, dtimer):
    @app.task(name="reject", acks_late=True)
    def reject():
        raise Reject("no", requeue=False)

    result = reject.post_in(60)
    dtimer.advance(60)
    assert (result.peek().state, result.peek().reason) == (State.PARKED, "its task was rejected")
    assert result.peek().until == dtimer.now


def test_a_task_may_not_wait_for_another(app, dtimer, note):
    @app.task(name="wait")
    def wait():
        note.post_in(60, "a").get()

    wait.post_in(60)
    with pytest.raises(RuntimeError, match=r"Never call result\.get\(\) within a task"):
        dtimer.advance(60)
    assert note.post_in(0, "b").ready() is False


class Counting(Request):
    def on_success(self, outcome, **more):
        self.app.counted = outcome[1]
        super().on_success(outcome, **more)


def test_a_task_may_have_a_request_class_of_its_own(app, dtimer):
    @app.task(name="counted", Request=f"{__name__}:Counting")
    def counted():
        return 5

    counted.post_in(60)
    dtimer.advance(60)
    assert app.counted == "5"


def test_an_ignored_task_is_confirmed(app, dtimer):
    @app.task(name="ignore", acks_late=True)
    def ignore():
        raise Ignore

    result = ignore.post_in(60)
    assert len(dtimer.advance(60)) == 1
    assert result.peek() is None


def test_what_is_late_is_treated_as_its_task_says(app, dtimer, ran):
    @app.task(name="late", dtimer_options={"misfire": "drop", "grace": 5})
    def late():
        ran.append("late")

    @app.task(name="parked", dtimer_options={"misfire": "park", "grace": 5})
    def parked(): ...

    dropped, kept = late.post_at(dtimer.now.replace(year=2000)), parked.post_at(dtimer.now.replace(year=2000))
    late.post_in(60)
    dtimer.advance(60)
    assert ran == ["late"]
    assert (dropped.state, kept.peek().state) == ("REVOKED", State.PARKED)


def test_a_task_that_ends_the_test_leaves_its_event_as_it_was(app, dtimer):
    @app.task(name="skip", acks_late=True)
    def skip():
        pytest.skip("from a task")

    result = skip.post_in(60)
    with pytest.raises(pytest.skip.Exception):
        dtimer.advance(60)
    assert (result.peek().state, result.peek().redeliveries) == (State.PENDING, 0)
    assert result.id not in worker_state.requests


def test_links_and_errbacks_run_where_the_app_runs_them(app, dtimer, note, ran):
    app.conf.task_always_eager = True

    @app.task(name="fail")
    def fail(_):
        raise ValueError("no")

    @app.task(name="cope")
    def cope(request, exc, _traceback):
        ran.append((request.task, str(exc)))

    note.post(("a",), delay=60, link=note.s())
    fail.post((1,), delay=120, link_error=cope.s())
    with pytest.raises(ValueError, match="no"):
        dtimer.advance(120)
    assert ran == [("a", 60.0), ("a", 60.0), ("fail", "no")]


def test_posts_wait_although_other_calls_of_the_app_are_eager(app, dtimer, note, ran):
    app.conf.task_always_eager = True
    app.conf.dtimer_takeover = 60

    @app.task(name="start", bind=True)
    def start(self):
        note.delay("at once")
        note.apply_async(("short",), countdown=1)
        note.apply_async(("taken over",), countdown=60)
        if not self.request.retries:
            raise self.retry(countdown=5)

    result = start.post_in(10)
    assert note.delay("eager").get() == "eager"
    dtimer.advance(10)
    assert ran == [("eager", 0.0), ("at once", 10.0), ("short", 10.0)]
    dtimer.advance(60)
    assert ran[3:] == [("at once", 15.0), ("short", 15.0), ("taken over", 70.0)]
    assert result.get(timeout=1) is None
    assert result.successful()
    assert app.conf.task_always_eager is True


def test_signals_are_sent_as_by_a_worker(app, dtimer, note):
    seen = []

    def receiver(signal, **fields):
        seen.append((signal.name, fields["id"]))

    for signal in (signals.event_fired, signals.event_confirmed):
        signal.connect(receiver, sender=app, weak=False)
    try:
        result = note.post_in(60, "a")
        dtimer.advance(60)
    finally:
        for signal in (signals.event_fired, signals.event_confirmed):
            signal.disconnect(receiver, sender=app)
    assert seen == [("event_fired", result.id), ("event_confirmed", result.id)]


def test_a_test_leaves_the_app_and_redis_as_they_were(app, make_app, redis_url, redis_client):
    plain, before = make_app(installed=False), vars(app)["_dtimer"]
    for one in (app, plain):

        @one.task(name="wait")
        def wait(): ...

        for _ in range(2):
            with virtual_timer(one, url=redis_url) as dtimer:
                wait.post(delay=60, task_id="the same", tags=["a"])
                assert dtimer.advance(60)[0].id == "the same"
                wait.post(delay=60, task_id="left")
                dtimer.timer.hold(queue=one.conf.task_default_queue)
    assert redis_client.keys() == []
    assert vars(app)["_dtimer"] is before
    assert app.AsyncResult("the same").backend is not one.backend
    assert type(app.backend).__name__ == "RedisBackend"
    assert "left" not in state.revoked


def test_the_virtual_timer_is_for_an_app_without_a_worker_or_another_one(app, redis_url):
    app._dtimer.give({"url": redis_url})
    app._dtimer.hold()
    with pytest.raises(RuntimeError, match="a worker of this app listens already"), virtual_timer(app, url=redis_url):
        pass
    app._dtimer.let_go()
    with (
        virtual_timer(app, url=redis_url),
        pytest.raises(RuntimeError, match="is a virtual one already"),
        virtual_timer(app, url=redis_url),
    ):
        pass


def test_results_stay_where_the_app_has_them_if_that_is_said(make_app, redis_url):
    app = make_app(dtimer_url=redis_url, result_backend="cache+memory://")
    with virtual_timer(app, url=redis_url, results="app"):
        assert type(app.backend).__name__ == "CacheBackend"
    with pytest.raises(ValueError, match="results must be 'memory' or 'app', got 'x'"), virtual_timer(app, results="x"):
        pass
