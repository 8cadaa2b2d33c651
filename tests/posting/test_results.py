"""A result keeps the class that it has natively, and can ask the timer whatever that is."""

import pickle

import celery
import pytest
from celery.contrib.abortable import AbortableAsyncResult, AbortableTask
from celery.result import AsyncResult, EagerResult
from kombu.utils.objects import cached_property
from rig.projects import close_app

from celery_dtimer import install


def nothing(*args):
    """The body of a task that is never run."""


@pytest.fixture
def taken(make_app, redis_url):
    """An app whose every countdown goes to the timer."""
    return make_app(dtimer_url=redis_url, dtimer_takeover=0, result_backend="cache+memory://")


class Tracked(AsyncResult):
    """A class of the user's own, with a method of its own that the timer has one of too."""

    def progress(self):
        return 0.5

    def cancel(self):
        return "mine"


class TrackedTask(celery.Task):
    def AsyncResult(self, task_id, **kwargs):  # noqa: N802 - Celery's name
        return Tracked(task_id, backend=self.backend, app=self.app, **kwargs)


class CachedApp(celery.Celery):
    @cached_property
    def AsyncResult(self):  # noqa: N802 - Celery's name
        return self.subclass_with_self(Tracked, reverse="AsyncResult")


class PropertyApp(celery.Celery):
    @property
    def AsyncResult(self):  # noqa: N802 - Celery's name
        return self.subclass_with_self(Tracked, reverse="AsyncResult")


def of_a_task(app):
    return app.task(name="t", base=TrackedTask)(nothing)


#: What makes a result -> its class natively.
RESULTS = {
    "a task": (lambda app: app.task(name="t")(nothing).apply_async(countdown=60), AsyncResult),
    "an abortable task": (
        lambda app: app.task(name="t", base=AbortableTask)(nothing).apply_async(countdown=60),
        AbortableAsyncResult,
    ),
    "a post of an abortable task": (
        lambda app: app.task(name="t", base=AbortableTask)(nothing).post_in(60),
        AbortableAsyncResult,
    ),
    "a task with a method of its own": (lambda app: of_a_task(app).apply_async(countdown=60), Tracked),
    "a post of such a task": (lambda app: of_a_task(app).post_in(60), Tracked),
    "its AsyncResult": (lambda app: of_a_task(app).AsyncResult(of_a_task(app).post_in(60).id), Tracked),
    "send_task": (lambda app: app.send_task("t", countdown=60), AsyncResult),
    "send_task with a class": (lambda app: app.send_task("t", countdown=60, result_cls=Tracked), Tracked),
    "send_task with a function": (
        lambda app: app.send_task("t", countdown=60, result_cls=lambda task_id: Tracked(task_id, app=app)),
        Tracked,
    ),
    "the app's AsyncResult": (lambda app: app.AsyncResult(app.send_task("t", countdown=60).id), AsyncResult),
    "a signature": (lambda app: app.signature("t", countdown=60).apply_async(), AsyncResult),
}


@pytest.mark.parametrize("made_by", RESULTS)
def test_a_result_keeps_its_class_and_can_ask_the_timer(taken, made_by):
    make, kind = RESULTS[made_by]
    result = make(taken)
    assert isinstance(result, kind)
    assert result.peek().id == result.id
    assert result.change_delay(90)
    taken.set_current()
    again = pickle.loads(pickle.dumps(result))
    assert type(again) is type(result)
    assert again.peek() == result.peek()
    if kind is Tracked:
        assert (result.progress(), result.cancel()) == (0.5, "mine")
    else:
        assert result.cancel()


@pytest.mark.parametrize("kind", [CachedApp, PropertyApp])
def test_results_of_an_app_with_a_class_of_its_own_for_them_keep_it(kind, redis_url, request):
    app = kind("tracked", broker="memory://", backend="cache+memory://")
    request.addfinalizer(lambda: close_app(app))
    install(app, url=redis_url, takeover=0)

    @app.task
    def task():
        pass

    for result in (task.apply_async(countdown=60), task.post_in(60), app.send_task("x", countdown=60)):
        assert result.progress() == 0.5
        assert result.peek().id == result.id
        assert task.AsyncResult(result.id).peek() == result.peek()
    if kind is CachedApp:
        assert app.AsyncResult(result.id).peek() == result.peek()


def test_a_result_asks_the_timer_of_the_app_that_its_task_is_of(taken, make_app):
    other = make_app("other", installed=False)
    other.set_current()
    task = taken.task(name="t", base=AbortableTask)(nothing)
    assert task.post_in(60).cancel()
    assert task.AsyncResult(task.post_in(60).id).cancel()


class Singleton(celery.Task):
    """As celery-singleton has it: the result of the call that waits already, for another of the same."""

    held: AsyncResult | None = None
    answer = None

    def apply_async(self, *args, **kwargs):
        if self.held is None:
            type(self).held = super().apply_async(*args, **kwargs)
            return self.held
        return self.answer(self.held.id)


@pytest.mark.parametrize(
    "answer",
    [
        lambda self, task_id: self.AsyncResult(task_id),
        lambda self, task_id: self.app.AsyncResult(task_id),
        lambda self, task_id: AsyncResult(task_id),
        lambda self, task_id: self.held,
        lambda self, task_id: EagerResult(None, None, "REJECTED"),
        lambda self, task_id: None,
    ],
    ids=["task", "app", "plain", "same", "eager", "none"],
)
def test_a_duplicate_of_a_singleton_can_ask_the_timer_too(taken, answer):
    taken.set_current()
    base = type("Base", (Singleton,), {"answer": answer, "held": None})
    task = taken.task(name="t", base=base)(nothing)
    first, second = task.post_in(60), task.post_in(60)
    assert second.peek() in (first.peek(), None)
    assert bool(second.change_delay(90)) is (second.id == first.id)
    assert bool(second.cancel()) is (second.id == first.id)
    first.cancel()
