"""Messages that are made of what is known of their task: byte for byte those of Celery, or made by Celery."""

import asyncio
import datetime as dt
import decimal
import enum
import os
import uuid
import warnings
from types import MethodType
from typing import NamedTuple

import kombu.serialization
import pytest
from celery import signals
from celery._state import _task_stack
from celery.app.task import Task
from celery.backends.base import Backend
from celery.utils.saferepr import saferepr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kombu import Exchange, Producer, Queue

from celery_dtimer import TaskPost, TimerUnavailableError
from celery_dtimer.celery_patches.reprs import shown
from celery_dtimer.extension import extension_of
from celery_dtimer.posting.producer import TimerProducer
from celery_dtimer.signals import event_posted

#: An option that changes nothing, and that only Celery's own way takes.
BY_CELERY = {"argsrepr": None}

#: The length of an outcome that is an error.
ERROR = 2


class Point(NamedTuple):
    """A tuple of a class of its own."""

    x: int
    y: str


class Text(str):
    """Text of a class of its own."""

    __slots__ = ()


class Colour(enum.IntEnum):
    """A number by another name."""

    RED = 1


class Odd:
    """What kombu makes JSON of by its own method, and whose repr has no end."""

    def __json__(self):
        return {"odd": True}

    def __repr__(self):
        return "odd" * 1000


plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["'", '"', "\\'", "%", "%(args)s", "ü", "\ud800", "<of one message: reply_to>", "x" * 1100])
)
odd = st.sampled_from(
    [
        *(b"bytes", b"\xff", dt.datetime(2026, 1, 2, tzinfo=dt.UTC), dt.date(2026, 1, 2)),
        *(decimal.Decimal("1.50"), uuid.UUID(int=7), Point(1, "y"), Text("it's"), Colour.RED, Odd(), {1, 2}, object),
        *((), [], {}, (1,), {1: "one"}, {None: 1}, {(1, 2): 3}, 10**30, range(3)),
    ]
)
values = st.recursive(
    plain | odd,
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner) | st.dictionaries(plain, inner, max_size=3),
)
arguments = st.lists(values, max_size=4).map(tuple)
keywords = st.dictionaries(st.text("abcü'_", min_size=1, max_size=5), values, max_size=3)


@settings(max_examples=100, deadline=None)
@given(
    arguments | keywords | values, st.sampled_from([None, 0, 1, 5, 40, 100, 1024]), st.sampled_from([None, *range(6)])
)
@example((["x"] * 1020,), 1024, 3)
@example(("x" * 1018,), 1024, 3)
@example(("x" * 1019,), 1024, 3)
@example(("x" * 1020,), 1024, 3)
@example(([[[[1]]]], {"a": {"b": {"c": 1}}}), 1024, 3)
def test_arguments_are_shown_as_celery_shows_them(value, most, levels):
    assert shown(value, most, levels) == saferepr(value, most, maxlevels=levels)


def test_what_contains_itself_is_shown_as_celery_shows_it():
    inner = [1]
    inner.append(inner)
    assert shown((inner,), 1024, 0) == saferepr((inner,), 1024, maxlevels=0)
    many = [[["x"] * 500] * 500] * 500
    assert shown((many,), 1024, 3) == saferepr((many,), 1024, maxlevels=3)


@pytest.fixture
def made_by_celery(monkeypatch):
    """Notes the events that Celery's own way has made."""
    made, native = [], TimerProducer._event

    def event(self, *args):
        found = native(self, *args)
        made.append(found)
        return found

    monkeypatch.setattr(TimerProducer, "_event", event)
    return made


def anything(*args, **kwargs):
    """Be a task."""


def outcome(post):
    """The payload and all else that a post has stored; or the error that it raises."""
    try:
        result = post()
    except Exception as exc:  # noqa: BLE001 - the errors are compared
        return type(exc), str(exc)
    info = result.peek()
    result.cancel()
    return info.payload, info.queue, info.tags, info.max_redeliveries, result.ignored, type(result)


@pytest.fixture
def define(app):
    """Makes tasks of the app."""
    numbers = iter(range(1_000_000))

    def define(**options):
        return app.task(name=f"task %{next(numbers)}", **options)(anything)

    return define


task_options = st.fixed_dictionaries(
    {},
    optional={
        "ignore_result": st.booleans(),
        "serializer": st.sampled_from(["json", "pickle", "yaml"]),
        "queue": st.sampled_from(["celery", "other"]),
        "priority": st.sampled_from([0, 5]),
        "time_limit": st.just(5),
        "soft_time_limit": st.sampled_from([3, 9]),
        "expires": st.just(1000.0),
        "compression": st.just("zlib"),
        "delivery_mode": st.just(1),
    },
)
#: Options of tasks whose messages Celery makes: it adds an instant, a header, or what the compression makes.
NEVER_KNOWN = {"expires", "compression"}

timer_options = st.fixed_dictionaries({}, optional={"tags": st.just(["a", "b"]), "max_redeliveries": st.just(3)})


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(task_options, timer_options, arguments, keywords)
@example({}, {}, (1, "two"), {})
@example({}, {}, (), {"a": "'%s'"})
@example({"expires": 1000.0}, {}, (), {})
def test_a_message_of_what_is_known_is_the_one_that_celery_makes(define, made_by_celery, options, timer, args, kwargs):
    task = define(**options)
    for _ in range(3):  # at the first, Celery may warn of an option
        outcome(lambda: task.post((), {}, delay=60))
    made_by_celery.clear()
    known = outcome(lambda: task.post(args, kwargs, delay=60, **timer))
    quick = not made_by_celery
    by_celery = outcome(lambda: task.post(args, kwargs, delay=60, **timer, **BY_CELERY))
    if "expires" not in options:
        assert known == by_celery
    else:
        # It says when, to the microsecond.
        assert known[1:] == by_celery[1:]
    if len(known) > ERROR:
        assert quick == (not NEVER_KNOWN & options.keys())


def test_from_the_third_post_on_messages_are_made_of_what_is_known(add, made_by_celery):
    for number in range(5):
        add.post_in(60, number)
    add.post([1], {"y": 2}, delay=60, task_id="mine")
    add.post_many([(number,) for number in range(5)], delay=60)
    assert [event.id for event in made_by_celery] == [event.id for event in made_by_celery][:2]


def test_awaited_posts_are_made_of_what_is_known_too(add, made_by_celery, timer):
    async def posted():
        return [await add.apost_in(60, 1) for _ in range(4)]

    results = asyncio.run(posted())
    assert len(made_by_celery) == 2
    assert len({timer.peek(result.id).payload for result in results}) == 1


def test_redis_as_the_backend_listens_for_the_result_of_each_post(make_app, redis_url, made_by_celery):
    app = make_app(dtimer_url=redis_url, result_backend=redis_url)
    task = app.task(name="task")(anything)
    results = [task.post_in(60) for _ in range(4)]
    assert len(made_by_celery) == 2
    channels = {app.backend.get_key_for_task(result.id) for result in results}
    assert channels <= app.backend.result_consumer.subscribed_to
    app.backend.result_consumer.stop()


def test_a_post_of_what_is_known_has_a_result_and_is_counted_and_told_of(add, made_by_celery, timer):
    seen = []

    def receive(sender, signal, **fields):
        seen.append((sender, fields.pop("id"), fields.pop("due_at") is not None, fields))

    add.post_in(60, 1), add.post_in(60, 1)
    made_by_celery.clear()
    event_posted.connect(receive)
    try:
        result = add.post([1], delay=60, tags=["t"])
    finally:
        event_posted.disconnect(receive)
    assert made_by_celery == []
    queue = add.app.conf.task_default_queue
    assert seen == [(add.app, result.id, True, {"queue": queue, "task": "add", "on_conflict": "error"})]
    assert extension_of(add.app).counters.total("posted") == 3
    assert (result.state, result.peek().tags, timer.peek(result.id).queue) == ("PENDING", ("t",), queue)


def test_wrong_arguments_are_refused_as_by_celery(add, made_by_celery):
    for _ in range(3):
        add.post_in(60, 1)
    made_by_celery.clear()
    for args, kwargs in [((1, 2, 3), {}), ((), {"z": 1}), ((object(),), {}), (({1: object},), {})]:
        known = outcome(lambda a=args, k=kwargs: add.post(a, k, delay=60))
        assert known == outcome(lambda a=args, k=kwargs: add.post(a, k, delay=60, **BY_CELERY))
        assert len(known) == ERROR
    with pytest.raises(TypeError) as caught:
        add.post_in(60, 1, queue="other")
    assert any("an option of the call goes into post" in note for note in caught.value.__notes__)


# --- what somebody else has a hand in


def with_header(original):
    """A wrapper as tracers write them."""

    def apply_async(self, args=None, kwargs=None, **options):
        return original(self, args, kwargs, **{**options, "headers": {"trace": "on"}})

    return apply_async


def patched_class(app, task, monkeypatch):
    monkeypatch.setattr(Task, "apply_async", with_header(Task.apply_async))


def patched_own_class(app, task, monkeypatch):
    monkeypatch.setattr(type(task), "apply_async", with_header(Task.apply_async), raising=False)


def patched_task(app, task, monkeypatch):
    monkeypatch.setattr(task, "apply_async", MethodType(with_header(Task.apply_async), task))


def patched_send_task(app, task, monkeypatch):
    native = type(app).send_task

    def send_task(self, *args, **options):
        return native(self, *args, **{**options, "headers": {"trace": "on"}})

    monkeypatch.setattr(type(app), "send_task", send_task)


def patched_app(app, task, monkeypatch):
    native = app.send_task
    monkeypatch.setattr(app, "send_task", lambda *a, **options: native(*a, **{**options, "headers": {"trace": "on"}}))


def patched_publish(app, task, monkeypatch):
    native = Producer.publish

    def publish(self, body, **options):
        return native(self, body, **{**options, "headers": {**options["headers"], "trace": "on"}})

    monkeypatch.setattr(Producer, "publish", publish)


def patched_inner_publish(app, task, monkeypatch):
    native = Producer._publish

    def publish(self, *args):
        args[4]["trace"] = "on"
        return native(self, *args)

    monkeypatch.setattr(Producer, "_publish", publish)


def patched_message(app, task, monkeypatch):
    native = app.amqp.create_task_message

    def make(*args, **options):
        made = native(*args, **options)
        made.headers["trace"] = "on"
        return made

    monkeypatch.setattr(app.amqp, "create_task_message", make)


def patched_sender(app, task, monkeypatch):
    native = app.amqp.send_task_message

    def send(producer, name, message, **options):
        return native(producer, name, message, **{**options, "headers": {"trace": "on"}})

    monkeypatch.setattr(app.amqp, "send_task_message", send)


def patched_shadow_name(app, task, monkeypatch):
    monkeypatch.setattr(type(task), "shadow_name", lambda self, args, kwargs, options: "trace", raising=False)


def before_publish(app, task, monkeypatch=None):
    def receive(headers, **more):
        headers["trace"] = "on"

    signals.before_task_publish.connect(receive, weak=False, dispatch_uid="ours")


def disconnect_ours():
    """End what tests have connected."""
    for signal in (signals.before_task_publish, signals.after_task_publish, signals.task_sent):
        signal.disconnect(dispatch_uid="ours")


OTHERS = (
    *(patched_class, patched_own_class, patched_task, patched_send_task, patched_app, patched_publish),
    *(patched_inner_publish, patched_message, patched_sender, patched_shadow_name, before_publish),
)


@pytest.fixture
def learned(app, made_by_celery):
    """A task whose messages are known, in a class of its own."""

    @app.task(name="learned", base=type("Own", (app.Task,), {"abstract": True}))
    def learned(*args, **kwargs):
        pass

    task = app.tasks["learned"]
    for number in range(3):
        task.post_in(60, number)
    assert len(made_by_celery) == 2
    made_by_celery.clear()
    yield task
    disconnect_ours()


@pytest.mark.parametrize("change", OTHERS)
def test_who_has_a_hand_in_a_message_is_asked_at_each_post(app, learned, made_by_celery, stored, monkeypatch, change):
    with monkeypatch.context() as patch:
        change(app, learned, patch)
        for number in range(4):
            result = learned.post_in(60, number)
            headers = stored(result).headers
            assert headers.get("trace") == "on" or headers["shadow"] == "trace"
            assert len(made_by_celery) == number + 1
    disconnect_ours()
    made_by_celery.clear()
    for number in range(4):
        assert "trace" not in stored(learned.post_in(60, number)).headers
    assert len(made_by_celery) < 4


@pytest.mark.parametrize("signal", [signals.after_task_publish, signals.task_sent])
def test_receivers_that_connect_later_are_told_of_each_post(learned, signal):
    seen = []

    def receive(sender, **more):
        seen.append(sender)

    signal.connect(receive, weak=False, dispatch_uid="ours")
    for number in range(3):
        learned.post_in(60, number)
    assert seen == ["learned"] * 3


def test_a_monitoring_event_is_sent_of_each_post_once_it_is_wanted(app, learned, made_by_celery):
    app.conf.task_send_sent_event = True
    learned.post_in(60, 1), learned.post_in(60, 1), learned.post_in(60, 1)
    assert len(made_by_celery) == 3


def test_an_app_that_becomes_eager_runs_the_next_post(app, learned):
    app.conf.task_always_eager = True
    assert learned.post_in(60, 1).state == "SUCCESS"


def test_a_backend_that_may_need_a_producer_is_asked_at_each_post(app, learned, made_by_celery, monkeypatch):
    seen = []
    monkeypatch.setattr(type(app.backend), "on_task_call", lambda self, producer, task_id: seen.append(producer))
    for number in range(3):
        learned.post_in(60, number)
    assert len(made_by_celery) == 3
    assert [type(producer) for producer in seen] == [TimerProducer] * 3
    assert Backend.on_task_call is not type(app.backend).on_task_call


# --- what changes


def default_queue(app, task):
    app.conf.task_default_queue = "elsewhere"


def routes(app, task):
    app.conf.update(task_routes={"learned": {"queue": "routed"}})


def no_routes(app, task):
    app.conf.update(task_routes=None)


def queue_as_it_was(app, task):
    app.amqp.queues.add(app.amqp.queues.new_missing(app.conf.task_default_queue))


def heeded(app, task):
    task.ignore_result = False


def nobody_before(app, task):
    disconnect_ours()


def appended_route(app, task):
    app.amqp.router.routes = [lambda name, args, kwargs, options, task=None: {"queue": f"routed {args[0]}"}]


def queue_of_a_topic(app, task):
    app.amqp.queues.add(Queue(app.conf.task_default_queue, Exchange("topics", "topic"), "a.b"))


def alias_of_the_queue(app, task):
    app.amqp.queues.add(Queue("other", Exchange("other"), "other", alias=app.conf.task_default_queue))


def ignored(app, task):
    task.ignore_result = True


def shorter(app, task):
    app.amqp.argsrepr_maxsize = 20


def fewer_levels(app, task):
    app.conf.task_repr_maxlevels = 1


def other_process(app, task):
    task.patch.setattr(os, "getpid", lambda: 12)


def other_name(app, task):
    task.name = "renamed"


def other_serializer(app, task):
    task.serializer = "pickle"
    task._exec_options = None


def serializer_of_others(app, task):
    kombu.serialization.register("json", lambda body: '"mine"', kombu.serialization.loads, "application/json", "utf-8")


def kind_of_values(app, task):
    kombu.utils.json.register_type(Odd, "odd", lambda odd: "here", lambda text: text)


def limits(app, task):
    task.soft_time_limit, task.time_limit = 9, 5


CHANGES = (
    *(default_queue, routes, appended_route, queue_of_a_topic, alias_of_the_queue, ignored, shorter, fewer_levels),
    *(other_process, other_name, other_serializer, serializer_of_others, kind_of_values, limits),
)


@pytest.fixture
def registrations():
    """Takes back what a test registers."""
    registry, encoders = kombu.serialization.registry, kombu.utils.json._encoders
    before = [dict(kept) for kept in (registry._encoders, registry._decoders, registry.type_to_name, encoders)]
    yield
    for kept, was in zip(
        (registry._encoders, registry._decoders, registry.type_to_name, encoders), before, strict=True
    ):
        kept.clear()
        kept.update(was)


@pytest.mark.usefixtures("registrations")
@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_counts_from_the_next_post_on(app, learned, monkeypatch, change):
    args = (["a", {"b": ["c"]}], Odd())
    before = outcome(lambda: learned.post(args, delay=60))
    learned.patch = monkeypatch
    change(app, learned)
    after = [outcome(lambda: learned.post(args, delay=60)) for _ in range(4)]
    assert after == [outcome(lambda: learned.post(args, delay=60, **BY_CELERY))] * 4
    # How a value is serialized changed before the first post of these arguments; Celery 5.5 has no such levels.
    assert after[0] != before or change in (kind_of_values, fewer_levels)


#: Those that an app can go through again and again.
REPEATED = (
    *(default_queue, routes, no_routes, queue_of_a_topic, queue_as_it_was, ignored, heeded, shorter, fewer_levels),
    *(other_serializer, limits, before_publish, nobody_before),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(REPEATED), max_size=6), st.integers(1, 3))
def test_after_any_changes_messages_are_those_that_celery_makes(make_app, redis_url, changes, posts):
    app = make_app(dtimer_url=redis_url)
    task = app.task(name="learned")(anything)
    try:
        for change in (None, *changes, None):
            if change is not None:
                change(app, app.tasks["learned"])
            args = (["a", {"b": [posts]}], "it's")
            made = [outcome(lambda args=args: task.post(args, delay=60)) for _ in range(posts)]
            assert made == [outcome(lambda args=args: task.post(args, delay=60, **BY_CELERY))] * posts
    finally:
        disconnect_ours()


def test_routers_of_ones_own_are_asked_once_for_each_post(make_app, redis_url, made_by_celery):
    asked = []

    def route(name, args, kwargs, options, task=None):
        asked.append(args)
        return {"queue": f"q{args[0]}"}

    app = make_app(dtimer_url=redis_url, task_routes=[route])
    task = app.task(name="routed")(anything)
    assert [task.post_in(60, number).peek().queue for number in range(4)] == ["q0", "q1", "q2", "q3"]
    assert asked == [(0,), (1,), (2,), (3,)]


def test_plain_routes_and_queues_of_tasks_need_nobody(make_app, redis_url, made_by_celery):
    app = make_app(dtimer_url=redis_url, task_routes={"routed": {"queue": "far"}, "more.*": {"priority": 3}})
    for name, options in {"routed": {}, "more.one": {}, "own": {"queue": "mine"}}.items():
        task = app.task(name=name, **options)(anything)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Celery wants queues to be routes
            task._get_exec_options()
        outcomes = [outcome(lambda task=task: task.post_in(60, 1)) for _ in range(4)]
        assert len(made_by_celery) < 4
        assert outcomes == [outcome(lambda task=task: task.post((1,), delay=60, **BY_CELERY))] * 4
        made_by_celery.clear()


def test_a_retry_policy_that_changes_in_place_counts_from_the_next_post_on(make_app, start_redis, caplog):
    server = start_redis()
    app = make_app(dtimer_url=server.url)
    app.conf.task_publish_retry_policy = {"max_retries": 3, "interval_start": 0, "interval_step": 0.01}
    task = app.task(name="task")(anything)
    for _ in range(3):
        task.post_in(60).cancel()
    server.kill()
    caplog.set_level("DEBUG", "celery_dtimer")
    for retries in (1, 2):
        caplog.clear()
        app.conf.task_publish_retry_policy["max_retries"] = retries
        with pytest.raises(TimerUnavailableError):
            task.post_in(60)
        assert [record.message.count("is posted again") for record in caplog.records].count(1) == retries


# --- who posts


@pytest.fixture
def running(app):
    """A task that runs in a worker, as far as Celery knows."""

    @app.task(name="running")
    def running():
        pass

    task = app.tasks["running"]
    task.push_request(id="parent", root_id="root", called_directly=False, children=[])
    _task_stack.push(task)
    yield task
    _task_stack.pop()
    task.pop_request()


def test_posts_of_a_task_have_it_for_their_parent_and_are_its_children(running, add, stored, made_by_celery):
    results = [add.post_in(60, 1) for _ in range(4)]
    assert len(made_by_celery) == 2
    for result in results:
        headers = stored(result).headers
        assert (headers["parent_id"], headers["root_id"]) == ("parent", "root")
    assert len({result.peek().payload for result in results}) == 1
    assert running.request.children == results
    assert outcome(lambda: add.post_in(60, 1)) == outcome(lambda: add.post((1,), delay=60, **BY_CELERY))
    running.request.root_id = None
    running.request.id = "first"
    assert stored(add.post_in(60, 1)).headers["root_id"] == "first"
    assert stored(add.post((1,), delay=60, task_id="first")).headers["root_id"] == "first"


def test_what_is_known_of_posts_of_tasks_is_not_taken_for_others(running, add, stored):
    for _ in range(3):
        add.post_in(60, 1)
    top = _task_stack.pop()
    try:
        for _ in range(3):
            headers = stored(add.post_in(60, 1)).headers
            assert (headers["parent_id"], headers["root_id"] == headers["id"]) == (None, True)
    finally:
        _task_stack.push(top)
    assert stored(add.post_in(60, 1)).headers["parent_id"] == "parent"


def test_a_priority_that_is_inherited_is(app, running, add, stored):
    app.conf.task_inherit_parent_priority = True
    running.request.delivery_info = {"priority": 7}
    messages = [stored(add.post_in(60, 1)) for _ in range(3)]
    by_celery = stored(add.post((1,), delay=60, **BY_CELERY))
    assert {message.properties.get("priority") for message in messages} == {by_celery.properties.get("priority")}


def test_many_posts_with_options_of_their_own_are_those_of_celery(add, made_by_celery):
    posts = [(1,), TaskPost((2,), {"y": 3}), TaskPost((4,), options={"queue": "q", "tags": ["t"]}), TaskPost((5,))]
    add.post_in(60, 1), add.post_in(60, 1)
    made_by_celery.clear()
    results = add.post_many(posts, delay=60)
    assert [event.queue for event in made_by_celery] == ["q"]
    by_celery = add.post_many(posts, delay=60, **BY_CELERY)
    for known, made in zip(results, by_celery, strict=True):
        assert outcome(lambda r=known: r) == outcome(lambda r=made: r)
