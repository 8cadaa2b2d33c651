"""Takeover beside Celery's native delayed delivery: that of RabbitMQ's quorum queues, over a topic exchange."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from celery import signals
from rig.waiting import wait_until

from celery_dtimer import State, TimerResult, install

DELAYED = "celery_delayed_27"  # kombu's exchange for messages with the longest delays, where all of them go first
TOPIC = {"task_default_exchange": "shop", "task_default_exchange_type": "topic", "task_default_routing_key": "shop.all"}


@pytest.fixture
def broker_transport():
    return "rabbitmq quorum"


@pytest.fixture
def broker_place(broker_place):
    """With a direct exchange, Celery delays nothing natively."""
    return replace(broker_place, settings={**broker_place.settings, **TOPIC})


@pytest.fixture
def published():
    """(exchange, routing key) of each task that is published or posted by this process."""
    seen = []

    def note(exchange, routing_key, **_):
        seen.append((getattr(exchange, "name", exchange), routing_key))

    signals.before_task_publish.connect(note)
    yield seen
    signals.before_task_publish.disconnect(note)


def test_without_takeover_a_countdown_is_the_brokers(proj, start_worker, published, timer):
    start_worker()
    result = proj.note.apply_async(("native",), countdown=2)
    assert published[0][0] == DELAYED
    assert timer.peek(result.id) is None
    assert result.get(timeout=20) == [["native"], {}]


@pytest.mark.parametrize(
    "when",
    [
        lambda: {"countdown": 0.5},  # natively an error in Celery 5.7
        lambda: {"countdown": 2},
        lambda: {"eta": datetime.now(UTC) + timedelta(seconds=2)},
    ],
    ids=["under a second", "countdown", "eta"],
)
def test_under_takeover_the_timer_has_it_and_the_task_keeps_its_route(
    proj, start_worker, published, timer, wait_until_empty, when
):
    install(proj.app, takeover=0)
    result = proj.note.apply_async(("taken",), **when())
    assert isinstance(result, TimerResult)
    info = timer.peek(result.id)
    assert (info.state, info.queue) == (State.PENDING, "celery")
    assert published == [("shop", "shop.all")]
    start_worker()
    assert result.get(timeout=20) == [["taken"], {}]
    wait_until_empty()
    [row] = proj.records()
    assert row["at"] >= row["due"] == info.due_at.timestamp()


def test_a_retry_under_a_second_of_a_fired_task_goes_back_to_the_timer(proj, start_worker, wait_until_empty):
    start_worker()
    result = proj.stubborn.post_in(0.1, 3, 0.4)
    assert result.get(timeout=20) == 2
    rows = wait_until(lambda: (rows := proj.records())[2:] and rows, "three runs")
    assert [row["retries"] for row in rows] == [0, 1, 2]
    assert all(row["at"] >= row["due"] for row in rows)
    wait_until_empty()
