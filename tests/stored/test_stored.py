"""What each release has stored, as it stands in its file, is read, fired, cancelled and replayed by today's code."""

from dataclasses import asdict
from datetime import UTC, datetime
from threading import Event

import pytest
from dump import HERE, RELEASES, kept, load

from celery_dtimer import Counts, DTimer, State

LATER = datetime(2096, 10, 2, tzinfo=UTC)
REASON = "its task was rejected"


@pytest.fixture(params=RELEASES, ids=lambda file: file.stem)
def release(request, redis_client):
    release = kept(request.param)
    load(redis_client, release["keys"])
    return release


@pytest.fixture
def app_file():
    return HERE / "shop.py"


@pytest.fixture
def plain(release, redis_url, expected_keys):
    with DTimer(redis_url, namespace="plain") as plain:
        yield plain
    expected_keys.append("{*")


@pytest.fixture
def stored(release, timer, expected_keys):
    expected_keys.append("{*")
    return timer


def test_there_is_a_file_of_the_last_release():
    assert RELEASES


def test_stored_tasks_are_counted_and_shown(stored, release):
    assert asdict(stored.count()) == release["counts"]["dt"]
    assert {each.id for each in stored.upcoming()} >= {"tagged", "moved", "due", "held", "held-task", "retried"}
    tagged = stored.peek("tagged")
    assert (tagged.state, tagged.due_at, tagged.tags) == (State.PENDING, LATER, ("order:7", "urgent"))
    assert (tagged.task, tagged.args, tagged.kwargs) == ("shop.remind", "('tagged',)", "{'text': 'ünï'}")
    leased = stored.peek("leased")
    assert (leased.state, leased.redeliveries, leased.holder.split("@")[0]) == (State.LEASED, 0, "broken")
    [parked] = stored.parked()
    assert (parked.id, parked.task, parked.reason, parked.tags) == ("parked", "shop.charge", REASON, ("order:parked",))
    assert "no such card" in parked.error


def test_stored_holds_and_the_limit_are_shown_and_lifted(stored):
    holds = [(hold.what, hold.name, hold.by, hold.why) for hold in stored.holds()]
    assert ("queue", "held", "ops@example", "until the printer is back") in holds
    assert ("task", "shop.report", "ops@example", "numbers are wrong") in holds
    assert stored.resume(queue="held")
    assert stored.resume(task="shop.report")
    assert stored.holds() == []
    limit = stored.catch_up_limit()
    assert (limit.rate, limit.after, limit.by, limit.why) == (50, 5, "ops@example", "after the outage")
    assert stored.forget_catch_up_limit()
    assert stored.catch_up_limit() is None


def test_stored_tasks_are_found_by_tag_moved_and_cancelled(stored):
    assert [answer.id for answer in stored.change_many(tag="urgent", eta=LATER.replace(year=2095))] == ["tagged"]
    assert stored.peek("tagged").due_at.year == 2095
    assert [answer.id for answer in stored.cancel_many(tag="order:7") if answer] == ["tagged"]
    # The lease has lapsed long ago: nobody has it.
    for event_id in ("moved", "retried", "held", "held-task", "held-task-2", "due", "leased"):
        assert stored.cancel(event_id), event_id
    assert stored.drop("parked")
    assert stored.count() == Counts(pending=0, leased=0, parked=0)


def test_stored_tasks_run_and_leave_nothing(stored, proj, start_worker, wait_until_empty):
    stored.cancel_many(["tagged", "moved", "retried"])
    assert stored.replay("parked")
    stored.resume(queue="held")
    stored.resume(task="shop.report")
    stored.forget_catch_up_limit()
    start_worker(pool="threads", queues="celery,held")
    wait_until_empty()
    runs = {row["id"]: row for row in proj.records()}
    assert set(runs) == {"due", "leased", "parked", "held", "held-task", "held-task-2"}
    assert runs["leased"]["redeliveries"] == 1
    assert runs["due"]["redeliveries"] == 0


def test_stored_events_of_a_timer_alone_are_read_fired_and_cancelled(plain, release):
    assert asdict(plain.count()) == release["counts"]["plain"]
    pending = plain.peek("pending")
    assert (pending.payload, pending.due_at, pending.tags) == (b"\xff\x00", LATER, ("order:7",))
    [found] = plain.upcoming(kind="mail")
    assert found.id == "pending"
    assert plain.cancel("pending")


def test_stored_events_of_a_timer_alone_are_delivered(release, redis_url, expected_keys):
    expected_keys.append("{*")
    delivered = []
    arrived = Event()
    with DTimer(redis_url, namespace="plain", queues=["mails"]) as plain:

        @plain.on_event
        def deliver(delivery):
            delivered.append((delivery.id, delivery.payload))
            arrived.set()

        plain.join()
        assert arrived.wait(10)
        assert plain.leave()
    assert delivered == [("due", b"due")]
