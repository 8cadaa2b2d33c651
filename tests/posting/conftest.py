"""What the tests of posting share: an app that posts to the shared server, and a look at both ends."""

import pytest
import redis
from rig.outsider import Outsider

from celery_dtimer import message


@pytest.fixture
def app(make_app, redis_url):
    """An app with the timer and a memory broker; its events are cancelled after the test and must leave nothing."""
    return make_app(dtimer_url=redis_url, result_backend="cache+memory://")


@pytest.fixture
def add(app):
    """A plain task of that app."""

    @app.task(name="add")
    def add(x, y=0):
        return x + y

    return add


@pytest.fixture(autouse=True)
def cancel_what_waits(request):
    """End all events, so that a key which is left is a forgotten one."""
    url = request.getfixturevalue("redis_url") if "redis_url" in request.fixturenames else None
    yield
    if url is None:
        return
    with Outsider(url) as timer:
        for event in timer.upcoming(limit=10_000):
            timer.cancel(event.id)


@pytest.fixture
def timer(redis_url):
    """A timer that looks at what was posted."""
    with Outsider(redis_url) as timer:
        yield timer


@pytest.fixture
def stored():
    """Decodes the message of a posted task, as a worker does."""

    def stored(result):
        info = result.peek()
        return message.decode(info.payload, info.id, info.queue)

    return stored


@pytest.fixture
def published():
    """Takes the one message out of a queue of an app's memory broker; None if there is none."""

    def published(app, queue=None):
        with app.connection_for_read() as connection:
            return connection.default_channel.basic_get(queue or app.conf.task_default_queue, no_ack=True)

    return published


@pytest.fixture
def keyspace(redis_client: redis.Redis):
    """Shows the whole database: type and content of every key."""

    def keyspace():
        return {key: redis_client.dump(key) for key in sorted(redis_client.keys())}

    return keyspace
