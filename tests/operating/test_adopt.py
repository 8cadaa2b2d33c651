"""Tasks with an eta that wait in a broker are moved into the timer, and none is lost on the way."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from kombu import Exchange, Queue
from rig.waiting import wait_until

from celery_dtimer.extension import extension_of
from celery_dtimer.operating.adopt import Adoption
from celery_dtimer.operating.workers import held_by_workers

HOUR = 3600

MEDIA = Exchange("media", type="topic")


@pytest.fixture
def adopt(proj):
    def run(queues=("celery",), held=(), **options):
        return Adoption(extension_of(proj.app), **options).run(queues, held)

    return run


def waiting(proj, queue="celery"):
    """Ids of what is in a Redis queue, oldest first."""
    with proj.app.connection_for_read() as connection, connection.default_channel.conn_or_acquire() as client:
        return [json.loads(raw)["headers"]["id"] for raw in reversed(client.lrange(queue, 0, -1))]


def cleared(timer):
    for event in timer.upcoming(limit=10_000):
        assert timer.cancel(event.id)


def test_what_has_an_eta_moves_and_the_rest_stays_in_its_order(proj, timer, adopt):
    plain = [proj.note.delay(n).id for n in range(3)]
    later = [proj.note.apply_async((n,), countdown=HOUR + n).id for n in range(3)]
    plain += [proj.note.delay(n).id for n in range(3)]
    report = adopt()
    assert sorted(report.adopted) == sorted(later)
    assert report.kept == 6
    assert waiting(proj) == plain
    assert [event.id for event in timer.upcoming()] == later
    cleared(timer)


def test_a_dry_run_changes_nothing(proj, timer, adopt):
    later = [proj.note.apply_async((n,), countdown=HOUR).id for n in range(3)]
    assert adopt(dry_run=True).adopted == later
    assert waiting(proj) == later
    assert timer.count().pending == 0


def test_an_eta_that_is_near_stays(proj, timer, adopt):
    near, far = proj.note.apply_async(countdown=60), proj.note.apply_async(countdown=2 * HOUR)
    assert adopt(at_least=HOUR).adopted == [far.id]
    assert waiting(proj) == [near.id]
    cleared(timer)


def test_an_adopted_task_is_the_task_that_was_sent(proj, timer, adopt, start_worker):
    before = time.time()
    native = proj.note.apply_async((1, "ü"), {"key": [2]}, countdown=2, priority=3, headers={"mine": "x"})
    assert adopt().adopted == [native.id]
    info = timer.peek(native.id)
    assert before + 2 <= info.due_at.timestamp() <= time.time() + 2.1
    start_worker()
    assert native.get(timeout=15) == [[1, "ü"], {"key": [2]}]
    [row] = proj.records()
    assert row["at"] >= info.due_at.timestamp()
    wait_until(lambda: timer.count().leased == 0, "the confirm")


def test_running_it_again_stores_nothing_twice(proj, timer, adopt):
    native = proj.note.apply_async(countdown=HOUR)
    with proj.app.connection_for_read() as connection, connection.default_channel.conn_or_acquire() as client:
        raw = client.lindex("celery", 0)
        adopt()
        # As if it had been killed after storing and before removing.
        client.lpush("celery", raw)
    assert adopt().adopted == [native.id]
    assert waiting(proj) == []
    assert timer.count().pending == 1
    cleared(timer)


@pytest.mark.slow
def test_what_a_dead_worker_had_fetched_moves_and_what_a_living_one_holds_stays(proj, timer, adopt, start_worker):
    results = [proj.note.apply_async((n,), countdown=HOUR).id for n in range(4)]
    worker = start_worker()
    wait_until(lambda: held_by_workers(proj.app, timeout=0.5) == set(results), "the worker to hold them", 20)
    report = adopt(held=held_by_workers(proj.app))
    assert sorted(report.held) == sorted(results)
    assert report.adopted == []
    worker.kill()
    report = adopt(held=held_by_workers(proj.app, timeout=0.5))
    assert sorted(report.adopted) == sorted(results)
    with proj.app.connection_for_read() as connection, connection.default_channel.conn_or_acquire() as client:
        assert client.hlen("unacked") == client.zcard("unacked_index") == 0
    cleared(timer)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_killed_half_way_it_loses_nothing_and_goes_on_where_it_was(proj, timer, worker_app):
    ids = {proj.note.apply_async((n,), countdown=HOUR).id for n in range(1500)}
    command = [sys.executable, "-m", "celery", "-A", worker_app.name, "dtimer", "adopt", "--json"]
    path = os.pathsep.join([str(worker_app.folder), *sys.path])
    environment = {**os.environ, **worker_app.environment, "PYTHONPATH": path}
    with subprocess.Popen(command, env=environment, cwd=worker_app.folder, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: timer.count().pending > 200, "the first tasks to be adopted", 30)
        process.kill()
    stored = {event.id for event in timer.upcoming(limit=10_000)}
    assert 200 < len(stored) < 1500
    assert stored | set(waiting(proj)) == ids
    done = subprocess.run(command, env=environment, cwd=worker_app.folder, capture_output=True, check=True, timeout=60)
    report = json.loads(done.stdout)
    assert len(report["adopted"]) >= 1500 - len(stored)
    assert {event.id for event in timer.upcoming(limit=10_000)} == ids
    assert waiting(proj) == []
    cleared(timer)


class TestUnderAKeyPrefix:
    @pytest.fixture
    def broker_place(self, broker_place):
        return replace(broker_place, transport_options={**broker_place.transport_options, "global_keyprefix": "shop:"})

    def test_what_waits_and_what_a_dead_worker_had_fetched_moves(self, proj, timer, adopt, start_worker, redis_server):
        fetched = [proj.note.apply_async((n,), countdown=HOUR).id for n in range(3)]
        worker = start_worker()
        wait_until(lambda: held_by_workers(proj.app, timeout=0.5) == set(fetched), "the worker to hold them", 20)
        worker.kill()
        waits = [proj.note.apply_async((n,), countdown=HOUR, priority=3).id for n in range(3)]
        plain = proj.note.delay(1).id
        report = adopt()
        assert sorted(report.adopted) == sorted(fetched + waits)
        assert (report.kept, report.left, report.failed) == (1, {}, [])
        assert adopt().adopted == []
        with redis_server.client(1) as client:
            assert client.exists("shop:unacked", "shop:unacked_index") == 0
            [left] = [json.loads(raw)["headers"]["id"] for raw in client.lrange("shop:celery", 0, -1)]
            assert left == plain
        cleared(timer)


class TestANamedExchange:
    """A topic exchange, with a queue for a part and one for all."""

    @pytest.fixture
    def bound(self, proj):
        media = Exchange("media", type="topic")
        queues = {
            "video": Queue("video", media, routing_key="media.video.#"),
            "audio": Queue("audio", media, routing_key="media.audio.#"),
        }
        proj.app.conf.task_queues = [Queue("celery"), *queues.values()]

        def bind(*names):
            with proj.app.connection_for_write() as connection:
                for name in names:
                    queues[name](connection.default_channel).declare()

        queues["audit"] = Queue("audit", MEDIA, routing_key="media.#")
        return bind

    @staticmethod
    def fetch(proj, queue):
        """Take all messages of a queue, as a worker does that is killed then."""
        connection = proj.app.connection_for_read()
        channel = connection.default_channel
        channel.qos.restore_at_shutdown = False
        taken = 0
        while channel.basic_get(queue) is not None:
            taken += 1
        connection.collect()
        return taken

    def test_what_was_fetched_goes_by_the_queue_that_it_came_from(self, proj, timer, adopt, bound):
        bound("video", "audio")
        ids = [
            proj.note.apply_async(exchange="media", declare=[MEDIA], routing_key="media.video.hd", countdown=HOUR).id,
            proj.note.apply_async(queue="video", countdown=HOUR).id,
        ]
        assert self.fetch(proj, "video") == 2
        assert adopt(["audio"]).left == {"of another queue": 2}
        assert sorted(adopt(["audio", "video"]).adopted) == sorted(ids)
        assert {event.queue for event in timer.upcoming()} == {"video"}
        cleared(timer)

    def test_copies_for_several_queues_stay_unless_one_is_named_and_no_run_is_lost(self, proj, timer, adopt, bound):
        bound("video", "audit")
        native = proj.note.apply_async(
            exchange="media", declare=[MEDIA], routing_key="media.video.hd", countdown=HOUR
        ).id
        assert self.fetch(proj, "video") == 1
        report = adopt(["video", "audit"])
        # The copy that waits for audit moves; the one that was fetched may be of either.
        assert report.adopted == [native]
        assert timer.peek(native).queue == "audit"
        [(reason, count)] = report.left.items()
        assert ("audit, video" in reason, count) == (True, 1)
        [(reason, count)] = adopt(["video"]).left.items()
        assert ("another queue (audit)" in reason, count) == (True, 1)
        cleared(timer)
        assert adopt(["video"]).adopted == [native]
        assert timer.peek(native).queue == "video"
        cleared(timer)


def test_what_is_left_is_counted_with_the_reason(proj, timer, adopt):
    with proj.app.connection_for_write() as connection:
        producer = connection.Producer()
        body = {"task": "old.style", "id": "1", "args": [], "kwargs": {}, "eta": "2100-01-01T00:00:00"}
        producer.publish(body, routing_key="celery")
        producer.publish({"no": "task"}, routing_key="celery")
        with connection.default_channel.conn_or_acquire() as client:
            client.lpush("celery", b"\xff no json", "[]", "{}")
            client.hset("unacked", mapping={"a": b"\xff", "b": "[]", "c": "[{}, 1]"})
    later = proj.note.apply_async(countdown=HOUR).id
    report = adopt()
    assert report.adopted == [later]
    assert report.failed == []
    assert report.left == {"of protocol 1 (old.style)": 1, "no task of protocol 2": 1, "no message of kombu's": 6}
    assert adopt().left == report.left
    cleared(timer)
