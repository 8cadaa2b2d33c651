"""Tasks with an eta that wait in brokers other than Redis: adopted by consuming, and the rest given back."""

import pytest
from rig.waiting import wait_until

from celery_dtimer import get_timer
from celery_dtimer.extension import extension_of
from celery_dtimer.operating.adopt import Adoption

HOUR = 3600


@pytest.fixture(params=["rabbitmq classic", "rabbitmq quorum", "sqs", "filesystem"])
def broker_transport(request):
    return request.param


@pytest.fixture
def proj(worker_app):
    return worker_app.module


def waiting(proj):
    """How many messages wait in the queue."""
    with proj.app.connection_for_read() as connection:
        queue = proj.app.amqp.queues["celery"](connection.default_channel)
        return queue.queue_declare(passive=True).message_count


def test_what_has_an_eta_moves_by_consuming_and_the_rest_is_given_back_and_runs(proj, start_worker):
    timer = get_timer(proj.app)
    plain = [proj.note.delay(n) for n in range(5)]
    later = [proj.note.apply_async((n,), countdown=HOUR + n).id for n in range(5)]
    wait_until(lambda: waiting(proj) == 10, "all messages to be in the queue")

    dry = Adoption(extension_of(proj.app), dry_run=True).run(["celery"])
    assert sorted(dry.adopted) == sorted(later)
    wait_until(lambda: waiting(proj) == 10, "all messages to be given back")
    assert timer.count().pending == 0

    report = Adoption(extension_of(proj.app)).run(["celery"])
    assert sorted(report.adopted) == sorted(later)
    assert report.kept == 5
    assert [event.id for event in timer.upcoming()] == later
    wait_until(lambda: waiting(proj) == 5, "the plain messages to be given back")
    assert Adoption(extension_of(proj.app)).run(["celery"]).adopted == []

    start_worker()
    assert [result.get(timeout=20) for result in plain] == [[[n], {}] for n in range(5)]
    moved = timer.peek(later[0])
    assert timer.change_delay(moved.id, 0.2)
    assert proj.app.AsyncResult(moved.id).get(timeout=20) == [[0], {}]
    for event_id in later[1:]:
        assert timer.cancel(event_id)
    wait_until(lambda: timer.count().leased == 0, "the last confirm")
