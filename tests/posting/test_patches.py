"""What others patch, before install() or after it, is called: monitoring tools, tracers, mocks."""

import warnings
from inspect import signature
from unittest.mock import patch

import celery.exceptions
import pytest
from celery import Celery, current_app
from celery.local import maybe_evaluate
from kombu import Producer
from rig.projects import close_app

from celery_dtimer import TimerResult, get_timer, install
from celery_dtimer.posting.options import SEND_TASK


class Shop(Celery):
    """An app class of a project's own."""


@pytest.fixture
def shop(make_app, redis_url):
    """An app of that class."""
    app = make_app(kind=Shop, dtimer_url=redis_url)

    @app.task(name="buy")
    def buy(x):
        pass

    app.buy = buy
    return app


def tracing(calls, original):
    """A wrapper of ``send_task`` as tracers write them."""

    def send_task(self, name, *args, **kwargs):
        calls.append(name)
        kwargs["headers"] = {**(kwargs.get("headers") or {}), "trace": "on"}
        return original(self, name, *args, **kwargs)

    return send_task


@pytest.mark.parametrize("owner", [Celery, Shop])
def test_what_is_patched_in_the_class_after_install_sees_every_call_once(shop, published, stored, monkeypatch, owner):
    calls = []
    monkeypatch.setattr(owner, "send_task", tracing(calls, owner.send_task))
    shop.buy.delay(1)
    assert published(shop).headers["trace"] == "on"
    shop.send_task("elsewhere", (1,))
    assert published(shop).headers["trace"] == "on"
    assert stored(shop.buy.post_in(60, 1)).headers["trace"] == "on"
    install(shop, takeover=60)
    assert stored(shop.buy.apply_async((1,), countdown=60)).headers["trace"] == "on"
    assert calls == ["buy", "elsewhere", "buy", "buy"]
    monkeypatch.undo()
    shop.buy.delay(1)
    assert "trace" not in published(shop).headers
    assert len(calls) == 4


def test_a_mock_of_the_class_is_called_with_what_the_caller_gave(shop, published):
    with patch("celery.app.base.Celery.send_task") as send_task:
        assert shop.send_task("elsewhere", (1,), countdown=5, queue="far") is send_task.return_value
    send_task.assert_called_once_with("elsewhere", (1,), countdown=5, queue="far")
    with patch.object(Celery, "send_task", autospec=True) as send_task:
        shop.send_task("elsewhere", (1,))
    send_task.assert_called_once_with(shop, "elsewhere", (1,))
    with patch.object(Celery, "send_task", staticmethod(lambda name: f"static {name}")):
        assert shop.send_task("elsewhere") == "static elsewhere"
    shop.send_task("elsewhere")
    assert published(shop).headers["task"] == "elsewhere"


def test_a_mock_of_the_app_itself_is_called_in_place_of_the_timer_until_it_goes(shop):
    with patch.object(shop, "send_task") as send_task:
        shop.buy.post_in(60, 1)
        shop.send_task("elsewhere")
    assert [call.args[0] for call in send_task.call_args_list] == ["buy", "elsewhere"]
    assert shop.buy.post_in(60, 1).peek() is not None


def test_what_the_app_itself_had_before_install_sees_every_call(make_app, redis_url, published, stored):
    app, calls = make_app(installed=False, dtimer_url=redis_url), []

    def send_task(*args, **kwargs):
        calls.append(args[0])
        return Celery.send_task(app, *args, **kwargs)

    app.send_task = send_task
    install(app)

    @app.task(name="add")
    def add():
        pass

    add.delay()
    assert published(app).headers["task"] == "add"
    assert stored(add.post_in(60)).headers["task"] == "add"
    assert calls == ["add", "add"]


def test_a_class_that_overrides_send_task_sees_the_posts(make_app, redis_url, stored):
    class Tagging(Celery):
        def send_task(self, name, *args, **kwargs):
            return super().send_task(name, *args, **{**kwargs, "headers": {"tag": "set"}})

    app = make_app(kind=Tagging, dtimer_url=redis_url)

    @app.task(name="tagged")
    def tagged():
        pass

    assert stored(tagged.post_in(60)).headers["tag"] == "set"


def test_what_is_patched_in_the_making_of_tasks_after_install_is_called(shop, monkeypatch):
    made = []
    # Celery's own tasks are made now, and not among ours.
    shop.finalize()

    def naming(original):
        def make(self, task, *args, **options):
            made.append(options.get("name") or getattr(task, "name", None))
            return original(self, task, *args, **options)

        return make

    for name in ("_task_from_fun", "register_task"):
        monkeypatch.setattr(Shop, name, naming(getattr(Shop, name)))

    @shop.task(name="by function", lazy=False)
    def by_function():
        pass

    class ByClass(shop.Task):
        name = "by class"

        def run(self):
            pass

    by_class = shop.register_task(ByClass())
    assert made == ["by function", "by class"]
    for task in (by_function, by_class):
        assert task.post_in(60).peek() is not None


def test_what_is_patched_in_kombus_producer_sees_a_post_and_its_headers_are_stored(shop, stored, monkeypatch):
    seen = []

    def publish(self, body, **options):
        seen.append((options["routing_key"], options["headers"]["task"], self.connection.transport.driver_type))
        return original(self, body, **{**options, "headers": {**options["headers"], "outer": "set"}})

    def inner_publish(self, *args):
        seen.append((args[6], args[9], len(args[0]) > 0, getattr(self.channel.connection, "host", None)))
        args[4]["inner"] = "set"
        return original_inner(self, *args)

    original, original_inner = Producer.publish, Producer._publish
    monkeypatch.setattr(Producer, "publish", publish)
    monkeypatch.setattr(Producer, "_publish", inner_publish)
    headers = stored(shop.buy.post_in(60, 1)).headers
    queue = shop.conf.task_default_queue
    assert seen == [(queue, "buy", "redis"), (queue, "", True, None)]
    assert (headers["outer"], headers["inner"]) == ("set", "set")


def test_the_current_app_is_installed_for_good_whichever_app_is_current_later(redis_url):
    app, other = Celery("first", broker="memory://"), Celery("second", broker="memory://")
    app.conf.dtimer_url = redis_url
    try:
        app.set_current()
        assert install(current_app) is app
        other.set_current()

        @app.task(name="of the first")
        def first():
            pass

        assert isinstance(first.post_in(60), TimerResult)
        assert get_timer(app).count().pending == 1
        assert "send_task" not in vars(other)
    finally:
        for one in (app, other):
            close_app(one)


def test_parameters_are_known_in_the_order_that_celery_has_them():
    # Before Celery 5.7 the last are missing.
    native = tuple(
        name
        for name, parameter in signature(Celery.send_task).parameters.items()
        if name != "self" and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    )
    assert native
    assert SEND_TASK[: len(native)] == native


@pytest.mark.skipif(not hasattr(celery.exceptions, "DuplicateTaskNameWarning"), reason="Celery 5.7 began to warn")
def test_the_warning_of_a_task_that_is_made_twice_names_the_users_line(shop):
    def make():
        @shop.task(name="twice")
        def run():
            pass

        maybe_evaluate(run)

    make()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make()
    assert [warning.filename for warning in caught] == [__file__]
