"""An event waits in the queue that the broker would have put the message into, however the call says where to."""

import uuid

import pytest
from celery import chain
from kombu import Exchange, Queue

from celery_dtimer import InvalidEventError

#: layout -> the queues of an app, and its default queue; every name gets a prefix, since all memory brokers are one.
LAYOUTS = {
    "a topic exchange, shared with the default queue": [
        ("south", "shared", "topic", "south.#"),
        ("north", "shared", "topic", "north.#"),
        ("both", "shared", "topic", "*.feeds"),
    ],
    "a direct exchange, shared with the default queue": [
        ("south", "shared", "direct", "south.feeds"),
        ("north", "shared", "direct", "north.feeds"),
        ("both", "shared", "direct", "both"),
    ],
    "a queue that takes all": [
        ("south", "shared", "topic", "south.#"),
        ("north", "shared", "topic", "north.#"),
        ("both", "shared", "topic", "#"),
    ],
    "exchanges of their own": [
        ("south", "southern", "direct", "south.feeds"),
        ("north", "northern", "topic", "north.#"),
        ("both", "shared", "direct", "both"),
    ],
}

#: Where a call says that it goes; ``{}`` is the prefix.
DESTINATIONS = [
    {},
    {"routing_key": "north.feeds"},
    {"routing_key": "north.local"},
    {"routing_key": "south.local"},
    {"exchange": "{}shared", "routing_key": "north.local"},
    {"exchange": "{}shared", "routing_key": "both"},
    {"exchange": "{}southern", "routing_key": "south.feeds"},
    {"exchange": "{}shared"},
    {"queue": "{}north"},
    {"queue": "{}both"},
    {"queue": "{}south", "routing_key": "north.local"},
    {"queue": "{}north", "routing_key": "north.feeds"},
    {"queue": "{}north", "exchange": "{}shared", "routing_key": "south.local"},
]

#: How a task is called.
SHAPES = {
    "apply_async": lambda app, task, options: task.apply_async((1,), countdown=60, **options),
    "send_task": lambda app, task, options: app.send_task(task.name, (1,), countdown=60, **options),
    "a signature": lambda app, task, options: task.s(1).set(countdown=60, **options).apply_async(),
    "a chain": lambda app, task, options: chain(task.s(1), task.si(2)).apply_async(countdown=60, **options),
    "task_routes": lambda *called: routed(*called),  # noqa: PLW0108 - it is defined below,
}


def routed(app, task, options):
    app.conf.task_routes = {task.name: options}
    app.amqp.flush_routes()
    app.amqp.__dict__.pop("router", None)
    app.amqp.router = app.amqp.Router()
    return task.apply_async((1,), countdown=60)


@pytest.fixture
def make_laid_out(make_app, redis_url):
    """Makes an app of a layout, whose queues are declared in the broker, as by a worker."""

    def make_laid_out(layout, prefix, **options):
        queues = [
            Queue(prefix + name, Exchange(prefix + exchange, type=kind), routing_key=key)
            for name, exchange, kind, key in LAYOUTS[layout]
        ]
        app = make_app(
            dtimer_url=redis_url,
            task_queues=queues,
            task_default_queue=prefix + "south",
            task_default_exchange=queues[0].exchange.name,
            task_default_exchange_type=queues[0].exchange.type,
            task_default_routing_key="south.feeds",
            **options,
        )
        with app.connection_for_write() as connection:
            for queue in queues:
                queue(connection.default_channel).declare()

        @app.task(name="add")
        def add(x):
            pass

        return app, add

    return make_laid_out


def broker_queues(app, published):
    """The names of the queues that have a message, and no more after that."""
    return {queue.name for queue in app.conf.task_queues if published(app, queue.name) is not None}


@pytest.mark.parametrize(
    ("shape", "layout"),
    [("apply_async", layout) for layout in LAYOUTS] + [(shape, "a queue that takes all") for shape in SHAPES],
)
def test_under_takeover_a_call_waits_where_the_broker_would_have_put_it(make_laid_out, published, timer, shape, layout):
    for destination in DESTINATIONS:
        prefix = uuid.uuid4().hex
        options = {name: value.format(prefix) for name, value in destination.items()}
        native, add = make_laid_out(layout, prefix, dtimer_takeover=None)
        SHAPES[shape](native, add, dict(options))
        natively = broker_queues(native, published)

        app, add = make_laid_out(layout, prefix, dtimer_takeover=0)
        SHAPES[shape](app, add, dict(options))
        stored = {event.queue for event in timer.upcoming()}
        for event in timer.upcoming():
            timer.cancel(event.id)
        left = broker_queues(app, published)
        said = f"{destination}: natively {natively}, in the timer {stored}, in the broker {left}"
        if len(natively) == 1:
            assert stored == natively, said
            assert left == set(), said
        elif options.get("queue") in natively:
            # That queue was named: its workers run it, once.
            assert stored == {options["queue"]}, said
            assert left == set(), said
        else:
            # An event waits in one queue: several, or none that this app knows, are the broker's.
            assert stored == set(), said
            assert left == natively, said


def test_a_post_that_the_broker_would_put_into_several_queues_is_refused_until_one_is_named(make_laid_out, keyspace):
    prefix = uuid.uuid4().hex
    _, add = make_laid_out("a queue that takes all", prefix)
    with pytest.raises(InvalidEventError, match="an event waits in one: give queue="):
        add.post((1,), delay=60, routing_key="north.feeds")
    assert keyspace() == {}
    for name in ("north", "both"):
        result = add.post((1,), delay=60, routing_key="north.feeds", queue=prefix + name)
        assert result.peek().queue == prefix + name
        assert result.cancel()


@pytest.mark.parametrize(("broker", "queue"), [("amqp://", "sports"), ("memory://", None), ("redis://", None)])
def test_topics_match_as_in_the_apps_broker(make_app, redis_url, broker, queue):
    app = make_app(dtimer_url=redis_url, broker=broker)
    app.conf.task_queues = [Queue("sports", Exchange("news", type="topic"), routing_key="news.sport.#")]

    @app.task
    def add(x):
        pass

    # In AMQP # is any number of words, none included; kombu's own topics want one more.
    assert add.post((1,), delay=60, exchange="news", routing_key="news.sport.chess").peek().queue == "sports"
    if queue is None:
        with pytest.raises(InvalidEventError, match="no queue of task_queues"):
            add.post((1,), delay=60, exchange="news", routing_key="news.sport")
    else:
        assert add.post((1,), delay=60, exchange="news", routing_key="news.sport").peek().queue == queue


@pytest.mark.parametrize("kind", ["headers", "x-consistent-hash"])
def test_an_exchange_of_another_type_needs_a_queue_by_name(make_app, redis_url, kind):
    app = make_app(dtimer_url=redis_url, broker="amqp://")
    hashed = Exchange("hashed", type=kind)
    app.conf.task_queues = [Queue("one", hashed, routing_key="10"), Queue("two", hashed, routing_key="20")]

    @app.task
    def add(x):
        pass

    assert add.post((1,), delay=60, queue="two").peek().queue == "two"
    with pytest.raises(InvalidEventError, match="give queue="):
        add.post((1,), delay=60, exchange="hashed", routing_key="anything")


def test_an_exchange_for_delayed_messages_routes_as_the_type_it_is_given(make_app, redis_url):
    app = make_app(dtimer_url=redis_url, broker="amqp://")
    delayed = Exchange("delayed", type="x-delayed-message", arguments={"x-delayed-type": "direct"})
    app.conf.task_queues = [Queue("one", delayed, routing_key="a"), Queue("two", delayed, routing_key="b")]

    @app.task
    def add(x):
        pass

    assert add.post((1,), delay=60, exchange="delayed", routing_key="b").peek().queue == "two"
