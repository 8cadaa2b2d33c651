"""What takeover leaves as it was: calls for another broker, classes of results, and what the timer can't take."""

import os
import uuid
from datetime import UTC, datetime, timedelta

import celery
import celery.beat
import pytest
from celery.canvas import chord, group
from kombu import Connection, Exchange, Queue
from kombu.exceptions import OperationalError
from rig.ports import free_port

from celery_dtimer import EventExistsError, TimerUnavailableError, dtimer_task


def nothing(*args):
    """The body of a task that is never run."""


@pytest.fixture
def taken(make_app, redis_url):
    """An app whose every countdown goes to the timer."""
    return make_app(dtimer_url=redis_url, dtimer_takeover=0, result_backend="cache+memory://")


@pytest.fixture
def task(taken):
    """A task of that app."""

    @taken.task(name="task")
    def task(*args):
        pass

    return task


# --- another broker

#: How a call brings a connection.
BRINGERS = {
    "a connection": lambda connection: {"connection": connection},
    "a channel": lambda connection: {"connection": connection.default_channel},
    "a producer": lambda connection: {"producer": connection.Producer()},
    "a producer on a channel": lambda connection: {"producer": connection.channel().Producer()},
    "a publisher": lambda connection: {"publisher": connection.Producer()},
}


def calls(app, task, options):
    """Every shape of a call that takes a connection or a producer."""
    task.apply_async(countdown=60, **options)
    app.send_task("task", countdown=60, **options)
    task.s().set(countdown=60).apply_async(**options)
    return 3


@pytest.mark.parametrize("bringer", BRINGERS)
@pytest.mark.parametrize("differs", ["host", "port", "vhost", "prefix", "transport"])
def test_a_call_for_another_broker_is_left_to_celery(taken, task, timer, redis_client, redis_server, bringer, differs):
    if bringer == "a producer on a channel":
        BRINGERS[bringer] = lambda connection: {"producer": celery.current_app.amqp.Producer(connection.channel())}
    prefix = uuid.uuid4().hex
    # None of these is the app's own, memory://.
    other = {
        "host": Connection("memory://elsewhere"),
        "port": Connection("memory://localhost:4711"),
        "vhost": Connection("memory://", virtual_host="other"),
        "prefix": Connection("memory://", transport_options={"global_keyprefix": prefix}),
        "transport": Connection(redis_server.url_of(1)),
    }[differs]
    with other:
        sent = calls(taken, task, BRINGERS[bringer](other))
        assert timer.count().pending == 0
        queue = other.default_channel
        got = [queue.basic_get(taken.conf.task_default_queue, no_ack=True) for _ in range(sent + 1)]
    assert [message is not None for message in got] == [True] * sent + [False]
    assert all(message.headers["eta"] for message in got[:sent])


@pytest.mark.parametrize("bringer", BRINGERS)
def test_a_call_with_a_connection_of_the_apps_own_broker_is_taken_over(taken, task, timer, bringer):
    if bringer == "a producer on a channel":
        BRINGERS[bringer] = lambda connection: {"producer": celery.current_app.amqp.Producer(connection.channel())}
    with taken.connection_for_write() as connection:
        sent = calls(taken, task, BRINGERS[bringer](connection))
    assert timer.count().pending == sent
    with taken.pool.acquire(block=True) as connection:
        sent += calls(taken, task, BRINGERS[bringer](connection))
    assert timer.count().pending == sent


def test_a_producer_of_one_of_several_brokers_of_a_list_is_the_apps_own(make_app, redis_url, timer):
    app = make_app(broker="memory://first;memory://second", dtimer_url=redis_url, dtimer_takeover=0)
    for host in ("first", "second"):
        with Connection(f"memory://{host}", transport_options=app.connection().transport_options) as connection:
            app.send_task("task", countdown=60, connection=connection)
    assert timer.count().pending == 2


def test_what_celery_calls_with_a_producer_of_the_apps_own_is_taken_over(taken, task, timer):
    group(task.s(n) for n in range(3)).apply_async(countdown=60)
    assert timer.count().pending == 3
    task.starmap([(1,)]).apply_async(countdown=60)
    chord([task.s(1).set(countdown=60)], task.s()).apply_async()
    assert timer.count().pending == 5
    scheduler = celery.beat.Scheduler(app=taken, lazy=True)
    entry = scheduler.Entry(name="e", task="task", schedule=1, app=taken, options={"countdown": 60})
    scheduler.apply_async(entry, producer=scheduler.producer, advance=False)
    assert timer.count().pending == 6


# --- what the timer can't take


@pytest.fixture
def spread(taken):
    """The same app with queues that share a topic exchange, and a broadcast."""
    news = Exchange(f"news-{uuid.uuid4()}", type="topic")
    fan = Exchange(f"fan-{uuid.uuid4()}", type="fanout")
    taken.conf.task_queues = [
        Queue(taken.conf.task_default_queue),
        Queue(f"one-{news.name}", news, routing_key="news.#"),
        Queue(f"two-{news.name}", news, routing_key="#"),
        Queue(f"fan-{news.name}", fan),
    ]
    with taken.connection_for_write() as connection:
        for queue in taken.conf.task_queues:
            queue(connection.default_channel).declare()
    return taken


def test_a_call_whose_arguments_are_over_the_limit_goes_to_the_broker_with_its_eta(taken, task, published, timer):
    taken.conf.dtimer_max_payload = 300
    before = datetime.now(UTC)
    long = os.urandom(500).hex()  # which can't be compressed to fit
    result = task.apply_async((long,), countdown=60)
    message = published(taken)
    assert message.headers["id"] == result.id
    due = datetime.fromisoformat(message.headers["eta"])
    assert timedelta(seconds=59) < due - before < timedelta(seconds=90)
    assert timer.count().pending == 0
    assert result.peek() is None
    eta = datetime(2100, 1, 1, tzinfo=UTC)
    task.apply_async((long,), eta=eta, task_id="given")
    message = published(taken)
    assert (message.headers["id"], message.headers["eta"]) == ("given", eta.isoformat())


def test_the_signals_of_a_call_that_goes_to_the_broker_after_all_fire_once(spread, task, published):
    seen = []

    def before(sender, headers, **more):
        seen.append(("before", headers["id"]))

    def after(sender, headers, **more):
        seen.append(("after", headers["id"]))

    celery.signals.before_task_publish.connect(before)
    celery.signals.after_task_publish.connect(after)
    exchange = spread.conf.task_queues[1].exchange
    result = task.apply_async(exchange=exchange.name, routing_key="news.today", countdown=60)
    assert seen == [("before", result.id), ("after", result.id)]
    for queue in spread.conf.task_queues[1:3]:
        assert published(spread, queue.name).headers["id"] == result.id


def outcome_of(task, arguments, **options):
    try:
        task.apply_async(arguments, **options)
    except Exception as exc:  # noqa: BLE001 - whatever Celery raises
        return type(exc), str(exc)
    return "sent"


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((object(),), {}),
        ((1,), {"serializer": "no such"}),
    ],
    ids=["arguments", "serializer"],
)
def test_what_celery_refuses_is_refused_with_its_own_error(make_app, taken, task, arguments, options, timer):
    native = make_app(installed=False).task(name="task")(nothing)
    natively = outcome_of(native, arguments, countdown=60, **options)
    assert natively != "sent"
    assert outcome_of(task, arguments, countdown=60, **options) == natively
    assert timer.count().pending == 0


def test_a_timer_that_is_away_leaves_calls_to_the_broker_and_refuses_posts(taken, task, published, caplog):
    taken._dtimer.give({"url": f"redis://127.0.0.1:{free_port()}/0"})
    taken.conf.task_publish_retry_policy = {"max_retries": 1, "interval_start": 0, "interval_max": 0}
    result = task.apply_async((1,), countdown=60)
    message = published(taken)
    assert message.headers["id"] == result.id
    assert message.headers["eta"]
    assert "task task was refused by the timer, and goes to the broker" in caplog.text
    with pytest.raises(TimerUnavailableError):
        task.post_in(60, 1)
    assert published(taken) is None


@pytest.mark.slow
def test_a_broker_that_is_away_too_raises_celerys_own_error(make_app, task):
    closed = f"redis://127.0.0.1:{free_port()}/0"
    app = make_app(
        broker=closed,
        dtimer_url=closed,
        dtimer_takeover=0,
        task_publish_retry=False,
        broker_transport_options={"socket_connect_timeout": 1},
    )
    with pytest.raises(OperationalError):
        app.send_task("task", countdown=60)


# --- the task's own options


@pytest.mark.parametrize("call", ["apply_async", "send_task", "signature"])
def test_a_call_that_is_taken_over_has_the_timers_options_of_its_task(taken, timer, call):
    taken.set_current()

    @dtimer_task(name="keeper", max_redeliveries=3, on_conflict="keep")
    def keeper(n):
        pass

    @dtimer_task(name="debounced", on_conflict="postpone", max_wait=90)
    def debounced(n):
        pass

    @dtimer_task(name="strict", on_conflict="error")
    def strict(n):
        pass

    def send(task, **options):
        if call == "send_task":
            return taken.send_task(task.name, (1,), **options)
        return (task.s(1) if call == "signature" else task).apply_async(
            *([] if call == "signature" else [(1,)]), **options
        )

    due = send(keeper, countdown=60, task_id="kept").peek().due_at
    assert send(keeper, countdown=600, task_id="kept").peek().due_at == due
    assert timer.peek("kept").max_redeliveries == 3
    first = send(debounced, countdown=60, task_id="late").peek().due_at
    bound = send(debounced, countdown=600, task_id="late").peek().due_at
    assert timedelta(seconds=25) < bound - first < timedelta(seconds=31)
    send(strict, countdown=60, task_id="once")
    with pytest.raises(EventExistsError):
        send(strict, countdown=60, task_id="once")


def test_send_task_of_a_task_that_is_registered_elsewhere_replaces(taken, timer):
    taken.send_task("unknown", countdown=60, task_id="one")
    taken.send_task("unknown", countdown=600, task_id="one")
    assert timer.count().pending == 1
    assert timer.peek("one").max_redeliveries == 20
