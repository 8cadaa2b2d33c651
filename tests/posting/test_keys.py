"""A task's key makes the id of its posts of the arguments."""

import pytest
from celery import Task

from celery_dtimer import InvalidEventError, PayloadError, State, dtimer_task

ALL_CALLS = [((7, "eu"), {}), ((7,), {"shop": "eu"}), ((), {"shop": "eu", "order_id": 7})]


@pytest.fixture
def reindex(app):
    """A task with the key of a format string."""

    @app.task(name="reindex")
    def reindex(order_id, shop="de", *rest, **more):
        return order_id

    reindex.dtimer_options = {"key": "reindex:{shop}:{order_id}"}
    return reindex


@pytest.mark.parametrize(("args", "kwargs"), ALL_CALLS)
def test_the_key_reads_arguments_by_their_names_however_they_are_given(reindex, args, kwargs):
    assert reindex.post_in(60, *args, **kwargs).id == "reindex:eu:7"


def test_the_key_reads_defaults_and_further_keyword_arguments(reindex):
    assert reindex.post_in(60, 7).id == "reindex:de:7"
    assert reindex.post((8,), {"page": 3}, delay=60, key="{order_id}:{page:03}").id == "8:003"


def test_an_id_of_the_call_goes_before_the_key_and_no_key_is_none(reindex):
    assert reindex.post((7,), delay=60, task_id="own").id == "own"
    assert reindex.post(iter([7]), delay=60).id == "reindex:de:7"
    assert len(reindex.post((7,), delay=60, key=None).id) == 36


def test_a_function_is_called_with_the_arguments_of_the_call(app):
    @dtimer_task(name="task", bind=True, key=lambda order, *, shop="de": f"{shop}:{order['id']}")
    def task(self, order, *, shop="de"):
        return order

    assert task.post_in(60, {"id": 7}).id == "de:7"
    assert task.post_in(60, {"id": 7}, shop="eu").id == "eu:7"
    assert task.dtimer_options.keys() == {"key"}


def test_a_bound_task_and_a_task_class_have_keys_without_self(app):
    class Rebuild(Task):
        name = "rebuild"
        dtimer_options = {"key": "rebuild:{name}", "on_conflict": "postpone"}  # noqa: RUF012 - as users do

        def run(self, name):
            return name

    rebuild = app.register_task(Rebuild())

    @dtimer_task(name="retries", bind=True, autoretry_for=(OSError,), key="{self.name}:{page}")
    def retries(self, page):
        return page

    @dtimer_task(name="bound", bind=True, autoretry_for=(OSError,), key="bound:{page}")
    def bound(self, page):
        return page

    assert [app.tasks["rebuild"].post_in(60, "books").id for _ in range(2)] == ["rebuild:books"] * 2
    assert rebuild.AsyncResult("rebuild:books").peek().state is State.PENDING
    assert bound.post_in(60, 3).id == "bound:3"
    with pytest.raises(InvalidEventError, match="names self"):
        retries.post_in(60, 3)


def test_a_task_that_runs_at_once_has_its_key_as_id(app, reindex):
    app.conf.task_always_eager = True
    assert reindex.post_in(60, 7).id == "reindex:de:7"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("{order}", r"task reindex: its key '\{order\}' names order, and the call has no such argument"),
        ("{order_id.nothing}", "key failed: AttributeError"),
        ("{more[nothing]}", "names nothing, and the call has no such argument"),
        ("{order_id:%Y}", "key failed: ValueError"),
        (lambda: "none", r"key failed: TypeError: .*takes 0 positional arguments"),
        (lambda order_id: order_id, r"must make a string of 1 to 200 bytes of UTF-8, made 7 \(int\)"),
        (lambda order_id: "", "made ''"),
        ("x" * 201, "must make a string of 1 to 200 bytes"),
        ("é" * 101, "must make a string of 1 to 200 bytes"),
        ("\ud800", "must make a string"),
        (7, r"key must be a format string.*, got 7 \(int\)"),
        ("{", "key must be a format string"),
        ("{}", "each field needs the name of an argument"),
        ("{0}", "each field needs the name of an argument"),
    ],
)
def test_a_key_that_makes_no_id_is_refused_and_nothing_is_stored(reindex, keyspace, key, words):
    before = keyspace()
    with pytest.raises(InvalidEventError, match=words) as caught:
        reindex.post((7,), delay=60, key=key)
    assert caught.value.argument == "key"
    assert keyspace() == before


def test_arguments_that_the_task_does_not_take_are_refused_as_without_a_key(reindex):
    with pytest.raises(PayloadError, match="key of task reindex needs its arguments: missing .*'order_id'"):
        reindex.post_in(60)
    with pytest.raises(TypeError, match="multiple values"):
        reindex.post_in(60, 7, order_id=7)


def test_a_wrong_key_is_refused_where_the_task_is_made():
    with pytest.raises(InvalidEventError, match="key must be a format string"):
        dtimer_task(key="{")(print)
