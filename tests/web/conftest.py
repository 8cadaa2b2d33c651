"""A console of a real app, asked as a browser asks, without one."""

import pytest
from browser import TOKEN, Browser
from rig.keyspace import finish

from celery_dtimer import get_timer
from celery_dtimer.web import console, live


@pytest.fixture
def app(make_app, redis_url, redis_client, monkeypatch):
    """An app with two tasks; what waits is ended after the test."""
    monkeypatch.setattr(live, "ANSWER", 0.01)  # no worker is there to answer
    app = make_app(dtimer_url=redis_url, task_default_queue="celery")

    @app.task(name="shop.remind")
    def remind(*args, **kwargs):
        pass

    @app.task(name="shop.report")
    def report(*args, **kwargs):
        pass

    yield app
    finish(get_timer(app).shards[0], redis_client)


@pytest.fixture
def remind(app):
    return app.tasks["shop.remind"]


@pytest.fixture
def timer(app):
    return get_timer(app)


@pytest.fixture
def reader(app):
    """A browser at a console that only shows."""
    return Browser(console(app))


@pytest.fixture
def writer(app):
    """A browser that is signed in at a console that changes."""
    return Browser(console(app, allow_writes=True, token=TOKEN)).sign_in()


@pytest.fixture
def park(timer):
    """Parks an event that is due."""
    numbers = iter(range(1000))

    def park(result, reason="no <b>gateway</b>"):
        store, queue = timer.shards[0], result.peek().queue
        call = store.claim(
            [queue], listener="l", holder="h", nonce=f"n{next(numbers)}", room=9, lease_ms=60_000, ahead_ms=1000
        )
        store.ask(store.park(queue, store.read_claim(store.ask(call), [queue]).deliveries, reason))

    return park


@pytest.fixture
def lease(timer):
    """Claims what is due of a queue, as a worker does."""

    def lease(queue="celery"):
        store = timer.shards[0]
        call = store.claim(
            [queue], listener="l", holder="amber@shop", nonce="n", room=9, lease_ms=60_000, ahead_ms=1000
        )
        return store.read_claim(store.ask(call), [queue]).deliveries

    return lease
