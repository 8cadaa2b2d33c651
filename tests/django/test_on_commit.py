"""What is posted on a commit is posted by the commit, and by nothing else; what is wrong is said at the call."""

import logging
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest
from celery import shared_task
from celery.result import EagerResult
from django.db import connections, transaction
from django.test import TestCase

from celery_dtimer import EventExistsError, InvalidDelayError, InvalidEventError, PayloadError, TimerResult


@contextmanager
def rolled_back(**arguments):
    """A transaction that fails."""
    with suppress(ZeroDivisionError), transaction.atomic(**arguments):
        yield
        raise ZeroDivisionError


def test_the_task_is_posted_by_the_commit_and_its_id_is_known_before(remind, waiting):
    with transaction.atomic():
        result = remind.post_in_on_commit(60, 17, text="hello")
        assert isinstance(result, TimerResult)
        assert (waiting(), result.peek()) == (0, None)
    info = result.peek()
    assert (info.task, info.args, info.kwargs) == ("shop.remind", "(17,)", "{'text': 'hello'}")
    assert waiting() == 1


def test_nothing_is_posted_by_a_transaction_that_is_rolled_back(remind, waiting):
    with rolled_back():
        remind.post_in_on_commit(60, 17)
        remind.post_at_on_commit(datetime(2100, 1, 1, tzinfo=UTC), 17)
        remind.post_on_commit((17,), delay=60)
    assert waiting() == 0


def test_a_savepoint_that_is_rolled_back_takes_its_own_posts_along(remind, waiting):
    with transaction.atomic():
        kept = remind.post_in_on_commit(60, 1)
        with rolled_back():
            dropped = remind.post_in_on_commit(60, 2)
        with transaction.atomic():
            inner = remind.post_in_on_commit(60, 3)
        assert waiting() == 0
    assert [bool(result.peek()) for result in (kept, dropped, inner)] == [True, False, True]


def test_outside_of_a_transaction_the_task_is_posted_at_once(remind):
    assert remind.post_in_on_commit(60, 17).peek()
    assert remind.post_on_commit((18,), delay=60, using="other").peek()


def test_the_transaction_of_another_database_is_named_by_using(remind):
    with transaction.atomic(using="other"):
        with transaction.atomic():
            first, second = remind.post_in_on_commit(60, 1), remind.post_on_commit((2,), delay=60, using="other")
        assert first.peek()
        assert second.peek() is None
    assert second.peek()


def test_a_post_at_an_instant_and_all_options_are_those_of_the_timer(remind):
    due = datetime.now(UTC) + timedelta(days=3)
    with transaction.atomic():
        at = remind.post_at_on_commit(due, 17)
        keyed = remind.post_on_commit(
            (18,), delay=timedelta(hours=1), key="remind:{order_id}", tags=["order:18"], queue="mail"
        )
    assert abs(at.peek().due_at - due) < timedelta(milliseconds=2)
    assert keyed.id == "remind:18"
    assert (keyed.peek().queue, keyed.peek().tags) == ("mail", ("order:18",))


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (InvalidDelayError, lambda task: task.post_in_on_commit("soon", 17)),
        (InvalidDelayError, lambda task: task.post_at_on_commit("tomorrow", 17)),
        (InvalidEventError, lambda task: task.post_on_commit((17,), delay=1, expire=9)),
        (InvalidEventError, lambda task: task.post_on_commit((17,))),
        (TypeError, lambda task: task.post_in_on_commit(1)),
        (TypeError, lambda task: task.post_in_on_commit(1, 17, using="other")),
        (PayloadError, lambda task: task.post_in_on_commit(1, object())),
        (Exception, lambda task: task.post_on_commit((17,), delay=1, using="nowhere")),
    ],
)
def test_what_is_wrong_is_said_at_the_call_and_nothing_waits_for_the_commit(remind, waiting, error, call):
    with transaction.atomic():
        with pytest.raises(error):
            call(remind)
        assert connections["default"].run_on_commit == []
    assert waiting() == 0


def test_an_option_among_the_tasks_arguments_is_told_where_it_goes(remind):
    with pytest.raises(TypeError) as refused:
        remind.post_in_on_commit(1, 17, using="other")
    assert "post_on_commit(args, kwargs, delay=..., using=...)" in refused.value.__notes__[0]


def test_an_error_at_the_commit_is_raised_there_and_what_else_waits_for_it_is_left_out(remind, waiting):
    remind.post_on_commit((17,), delay=60, task_id="one")

    def order():
        with transaction.atomic():
            remind.post_on_commit((17,), delay=60, task_id="one")
            remind.post_in_on_commit(60, 18)

    with pytest.raises(EventExistsError):
        order()
    assert waiting() == 1


def test_an_error_of_a_robust_post_is_logged_and_the_others_are_made(remind, waiting, caplog):
    remind.post_on_commit((17,), delay=60, task_id="one")
    with caplog.at_level(logging.ERROR, "django"), transaction.atomic():
        remind.post_on_commit((17,), delay=60, task_id="one", robust=True)
        remind.post_in_on_commit(60, 18)
    assert waiting() == 2
    assert "is pending already" in caplog.text


def test_every_task_has_the_methods_however_it_is_made_and_its_own_go_before(app):
    @shared_task(name="shop.shared")
    def shared():
        pass

    class Own(app.Task):
        def post_on_commit(self):
            return "its own"

    @app.task(name="shop.owned", base=Own)
    def owned():
        pass

    for task in (shared, app.tasks["celery.backend_cleanup"], owned):
        assert callable(task.post_in_on_commit)
    assert owned.post_on_commit() == "its own"


def test_a_task_class_that_makes_other_arguments_of_those_of_a_call_is_not_refused(app, waiting):
    class Converting(app.Task):
        def apply_async(self, args=None, kwargs=None, **options):
            return super().apply_async(tuple(map(str, args)), kwargs, **options)

    @app.task(name="shop.converted", base=Converting)
    def task(order):
        pass

    with transaction.atomic():
        result = task.post_in_on_commit(60, UTC)
    assert result.peek().args == "('UTC',)"


def test_eagerly_the_task_runs_at_the_commit(app):
    ran = []
    app.conf.task_always_eager = True

    @app.task(name="shop.ran")
    def task(order_id):
        ran.append(order_id)

    with transaction.atomic():
        task.post_in_on_commit(60, 1)
        assert ran == []
    assert ran == [1]
    assert isinstance(task.post_in_on_commit(60, 2), EagerResult)
    assert ran == [1, 2]


class TestInATestCase(TestCase):
    """Django's TestCase keeps each test in a transaction, and has the callbacks of a commit captured."""

    @pytest.fixture(autouse=True)
    def _project(self, remind, waiting):
        self.remind, self.waiting = remind, waiting

    def test_captured_callbacks_post(self):
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            result = self.remind.post_in_on_commit(60, 17)
            assert self.waiting() == 0
        assert len(callbacks) == 1
        assert result.peek().args == "(17,)"

    def test_without_them_nothing_is_posted(self):
        self.remind.post_in_on_commit(60, 17)
        assert self.waiting() == 0
