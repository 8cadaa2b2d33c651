"""A cancelled task is revoked in its result backend, and a backend that fails does not undo the cancel."""

import logging

import pytest
from celery import chord, states
from celery.exceptions import ChordError, TaskRevokedError
from rig.ports import HOST, free_port

from celery_dtimer import get_timer
from celery_dtimer.extension import extension_of
from celery_dtimer.timer.events import NewEvent


@pytest.fixture
def app(make_app, redis_url):
    return make_app(dtimer_url=redis_url, result_backend=redis_url, dtimer_takeover=60)


@pytest.fixture
def task(app):
    return app.task(total, name="shop.total")


def total(*numbers):
    return sum(numbers)


def nothing():
    pass


def store(result, state):
    is_error = state in {states.RETRY, states.FAILURE}
    result.backend.store_result(result.id, ValueError("once") if is_error else "so far", state)


def failures(caplog):
    return [record.getMessage() for record in caplog.records if "result backend" in record.getMessage()]


def test_get_of_a_cancelled_task_raises_at_once(task):
    result = task.post_in(3600, 1)
    assert result.state == states.PENDING
    assert result.cancel()
    assert result.state == states.REVOKED
    with pytest.raises(TaskRevokedError, match="cancelled"):
        result.get(timeout=5)


def test_a_backend_is_given_the_headers_of_the_task_that_is_cancelled(task):
    seen = []

    class Looking(type(task.backend)):
        """Of another package: it stores what Celery's own backends do not."""

        def store_result(self, task_id, result, state, traceback=None, request=None, **more):
            seen.append([task_id, state, request.task, request.argsrepr, request.kwargsrepr, request.night])
            return super().store_result(task_id, result, state, traceback, request, **more)

    task.backend = Looking(app=task.app, url=task.backend.url)
    result = task.post((1, 2), delay=3600, headers={"night": "each"})
    assert result.cancel()
    assert seen == [[result.id, states.REVOKED, "shop.total", "(1, 2)", "{}", "each"]]


def test_a_cancel_by_id_does_the_same(app, task):
    result = task.post_in(3600, 1)
    assert get_timer(app).cancel(result.id)
    assert result.state == states.REVOKED


def test_a_change_that_is_not_made_leaves_the_state(task):
    result = task.post_in(3600, 1)
    assert result.change_delay(7200)
    assert not result.cancel(if_due_at="2100-01-01")
    assert result.state == states.PENDING
    assert result.cancel()
    assert not result.cancel()


@pytest.mark.parametrize("state", [states.RETRY, states.REJECTED, states.RECEIVED])
def test_a_task_that_waits_for_another_run_is_revoked(task, state):
    result = task.post_in(3600, 1)
    store(result, state)
    assert result.cancel()
    assert result.state == states.REVOKED


@pytest.mark.parametrize("state", [states.SUCCESS, states.FAILURE, states.STARTED, "HALF DONE"])
def test_the_result_of_another_run_of_the_id_is_kept(task, state):
    result = task.post_in(3600, 1)
    store(result, state)
    assert result.cancel()
    assert result.state == state


def test_an_ignored_result_is_not_stored(app, task, redis_client):
    ignoring = app.task(nothing, name="shop.ignoring", ignore_result=True)
    errors = app.task(nothing, name="shop.errors", ignore_result=True, store_errors_even_if_ignored=True)
    for result, state in (
        (ignoring.post_in(3600), states.PENDING),
        (task.post((1,), delay=3600, ignore_result=True), states.PENDING),
        (errors.post_in(3600), states.REVOKED),
    ):
        assert result.cancel()
        assert app.AsyncResult(result.id).state == state


def test_a_parked_task_that_is_cancelled_is_revoked(app, task):
    result = task.post((1,), delay=0)
    store, queue = get_timer(app).shards[0], result.peek().queue
    call = store.claim([queue], listener="l", holder="h", nonce="n", room=1, lease_ms=60_000, ahead_ms=1000)
    store.ask(store.park(queue, store.read_claim(store.ask(call), [queue]).deliveries, "why"))
    assert result.cancel().reason == "why"
    assert result.state == states.REVOKED


def test_a_backend_that_is_down_does_not_undo_a_cancel_and_is_logged_once(make_app, redis_url, caplog):
    # A post subscribes to the result; so another app posts, without a backend.
    task = make_app(dtimer_url=redis_url).task(nothing, name="shop.note")
    ids = [task.post_in(3600).id for _ in range(3)]
    app = make_app(dtimer_url=redis_url, result_backend=f"redis://:s3cret@{HOST}:{free_port()}/0")
    with caplog.at_level(logging.WARNING):
        assert get_timer(app).cancel(ids[0])
        assert get_timer(app).cancel(ids[1])
        app._dtimer.backend_rests_until = 0.001  # the rest is over
        assert get_timer(app).cancel(ids[2])
    [line] = failures(caplog)
    assert "get() on them waits in vain" in line
    assert "s3cret" not in line
    assert get_timer(app).count().pending == 0


def test_a_backend_that_answers_again_is_told_again(app, task, caplog, monkeypatch):
    def fail(*_, **__):
        raise OSError("down")

    first, second = task.post_in(3600), task.post_in(3600)
    with monkeypatch.context() as broken:
        broken.setattr(type(app.backend), "get_state", fail)
        assert first.cancel()
    app._dtimer.backend_rests_until = 0.001
    assert second.cancel()
    assert (first.state, second.state) == (states.PENDING, states.REVOKED)
    assert app._dtimer.backend_rests_until == 0
    assert len(failures(caplog)) == 1


def test_an_app_without_a_result_backend_cancels(make_app, redis_url, caplog):
    app = make_app(dtimer_url=redis_url)
    assert app.task(nothing, name="shop.note").post_in(3600).cancel()
    assert failures(caplog) == []


def test_an_rpc_result_says_so_to_whoever_waits(make_app, redis_url):
    app = make_app(dtimer_url=redis_url, result_backend="rpc://")
    result = app.task(nothing, name="shop.note").post_in(3600)
    assert get_timer(app).cancel(result.id)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=5)


def test_a_chord_with_a_cancelled_member_fails_and_does_not_wait(app, task):
    header = [task.s(number).set(countdown=3600) for number in range(3)]
    result = chord(header)(task.s())
    members = get_timer(app).upcoming()
    assert len(members) == 3
    for member in members:
        assert get_timer(app).cancel(member.id)
    with pytest.raises(ChordError, match="cancelled"):
        app.AsyncResult(result.id).get(timeout=5)


@pytest.mark.parametrize("payload", [b"", b"\x00", b"9 of a later version", b'1{"h":{"task":[],"group":{}},"p":{}}\n'])
def test_a_message_that_is_none_is_cancelled_all_the_same(app, task, payload, caplog):
    result = task.post_in(3600)
    store = get_timer(app).shards[0]
    queue = result.peek().queue
    store.post([NewEvent(result.id, payload, "in", 3_600_000, 20, queue)], conflict="replace")
    assert result.cancel()
    assert result.peek() is None


def test_many_are_cancelled_as_one_is(app, task):
    ids = [result.id for result in task.post_many([(1,), (2,)], delay=3600)]
    timer = get_timer(app)
    before = extension_of(app).counters.total("cancelled")
    assert [bool(answer) for answer in timer.cancel_many([*ids, "unknown"])] == [True, True, False]
    assert [app.AsyncResult(each).state for each in ids] == [states.REVOKED] * 2
    assert extension_of(app).counters.total("cancelled") - before == 2
