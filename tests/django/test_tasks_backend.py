"""The backend of Django's Tasks: where a task goes, what is refused, and what is known of one that waits."""

import asyncio
import importlib
from datetime import UTC, datetime, timedelta

import pytest
from django.core.checks import run_checks
from django.test import override_settings
from django.utils import timezone

from celery_dtimer import get_timer


@pytest.fixture
def api():
    """Django's names, which need its settings."""
    from celery_dtimer.django import task_api

    return task_api


@pytest.fixture
def tasks(app):
    """The site's tasks, made anew: the end of a test takes an app's tasks out of Celery."""
    import site_tasks

    from celery_dtimer.django.running import celery_task_of

    celery_task_of.cache_clear()
    return importlib.reload(site_tasks)


@pytest.fixture
def sent(app):
    """Takes the one message out of a queue of the broker; None if there is none."""

    def sent(queue=None):
        with app.connection_for_read() as connection:
            return connection.default_channel.basic_get(queue or app.conf.task_default_queue, no_ack=True)

    return sent


def test_a_task_with_run_after_waits_in_the_timer_under_its_own_name(app, tasks, sent):
    due = timezone.now() + timedelta(days=40)
    result = tasks.add.using(run_after=due).enqueue(1, y=2)
    event = get_timer(app).peek(result.id)
    assert (event.task, event.args, event.kwargs) == ("site_tasks.add", "(1,)", "{'y': 2}")
    assert abs(event.due_at - due) < timedelta(milliseconds=2)
    assert sent() is None


def test_one_without_goes_to_the_broker_at_once(tasks, sent, waiting):
    result = tasks.add.enqueue(1)
    message = sent()
    assert message.headers["id"] == result.id
    assert message.headers["task"] == "site_tasks.add"
    assert waiting() == 0


def test_a_queue_is_celerys_of_that_name(app, tasks, sent):
    waits = tasks.add.using(queue_name="mail", run_after=timezone.now() + timedelta(hours=1)).enqueue(1)
    assert get_timer(app).peek(waits.id).queue == "mail"
    sends = tasks.add.using(queue_name="mail").enqueue(1)
    assert sent("mail").headers["id"] == sends.id


def test_without_time_zones_run_after_is_in_djangos_own(app, tasks):
    with override_settings(USE_TZ=False, TIME_ZONE="Pacific/Auckland"):
        result = tasks.add.using(run_after=datetime.fromisoformat("2100-07-01 12:00")).enqueue(1)
    assert get_timer(app).peek(result.id).due_at == datetime(2100, 7, 1, tzinfo=UTC)


def test_priorities_are_refused_unless_the_options_allow_them(api, tasks, sent):
    with pytest.raises(api.InvalidTask, match="priority"):
        tasks.add.using(priority=1)
    for priority, level in ((50, 7), (-100, 0), (0, 4), (100, 9)):
        tasks.ranked.using(priority=priority).enqueue()
        assert sent().properties["priority"] == level


def test_with_redis_the_highest_priority_is_zero(app):
    from celery_dtimer.django.backend import _priority

    app.conf.broker_url = "redis://localhost:1/0"
    assert [_priority(app, priority) for priority in (-100, 0, 100)] == [9, 5, 0]


def test_what_the_backend_cant_do_is_refused_when_it_is_asked_for(api, tasks, waiting):
    with pytest.raises(api.InvalidTask, match="aware"):
        tasks.add.using(run_after=datetime.fromisoformat("2100-01-01"))
    with pytest.raises(api.InvalidTask, match="decorator"):
        tasks.elsewhere.using(backend="default").enqueue()
    with pytest.raises(TypeError, match="Unsupported type"):
        tasks.add.enqueue(object())
    with pytest.raises(api.InvalidTaskBackend, match="must be PRIORITIES, got 'PRIORITY'"):
        tasks.add.get_backend().__class__("default", {"OPTIONS": {"PRIORITY": True}})
    assert waiting() == 0


def test_a_task_that_the_timer_refuses_leaves_no_result(app, api, tasks):
    app.conf.dtimer_max_payload = 1024
    ids = []

    def note(task_result, **_):
        ids.append(task_result.id)

    api.task_enqueued.connect(note)
    stored = dict(app.backend.client.cache)
    with pytest.raises(ValueError, match="payload"):
        tasks.add.using(run_after=timezone.now() + timedelta(days=1)).enqueue("long" * 100_000)
    assert ids == []
    assert dict(app.backend.client.cache) == stored


def test_the_result_of_a_task_that_waits_is_there_though_celerys_record_of_it_has_expired(app, api, tasks):
    result = tasks.add.using(run_after=timezone.now() + timedelta(days=40)).enqueue(1, y=2)
    app.backend.forget(result.id)
    found = tasks.add.get_result(result.id)
    assert (found.status, found.args, found.kwargs) == (api.TaskResultStatus.READY, [1], {"y": 2})
    assert (found.task, found.enqueued_at) == (result.task, result.enqueued_at)


def test_a_task_that_is_cancelled_has_failed(app, api, tasks):
    result = tasks.add.using(run_after=timezone.now() + timedelta(days=40)).enqueue(1)
    assert get_timer(app).cancel(result.id)
    result.refresh()
    assert result.status == api.TaskResultStatus.FAILED
    assert result.errors[0].exception_class.__name__ == "TaskRevokedError"
    assert result.is_finished


def test_an_unknown_id_and_a_task_of_celerys_have_no_result(api, tasks, remind):
    for result_id in ("nothing", remind.post_in(60, 17).id):
        with pytest.raises(api.TaskResultDoesNotExist):
            tasks.add.get_result(result_id)


def test_without_what_celery_stores_results_are_not_supported(app, tasks):
    backend = tasks.add.get_backend()
    assert backend.supports_get_result
    assert run_checks(tags=["dtimer"]) == []
    app.conf.result_extended = False
    result = tasks.add.enqueue(1)
    assert not backend.supports_get_result
    with pytest.raises(NotImplementedError, match="CELERY_RESULT_EXTENDED"):
        tasks.add.get_result(result.id)
    assert [message.id for message in backend.check()] == ["dtimer.W002"]


def test_the_signal_says_that_a_task_was_enqueued(api, tasks):
    seen = []

    def note(sender, task_result, **_):
        seen.append((sender.__name__, task_result.id))

    api.task_enqueued.connect(note)
    result = tasks.add.enqueue(1)
    assert seen == [("DTimerBackend", result.id)]


def test_a_task_is_enqueued_from_a_coroutine(app, tasks):
    async def enqueue():
        return await tasks.add.using(run_after=timezone.now() + timedelta(hours=1)).aenqueue(1)

    assert get_timer(app).peek(asyncio.run(enqueue()).id)


def test_eagerly_a_task_runs_at_once_and_its_result_is_there(app, api, tasks):
    app.conf.task_always_eager = True
    done = tasks.add.using(run_after=timezone.now() + timedelta(hours=1)).enqueue(1, y=2)
    assert (done.status, done.return_value) == (api.TaskResultStatus.SUCCESSFUL, 3)
    failed = tasks.fail.enqueue()
    assert failed.status == api.TaskResultStatus.FAILED
    assert failed.errors[0].exception_class is LookupError


def test_called_as_a_task_of_celerys_it_runs_all_the_same(app, tasks):
    app.conf.task_always_eager = True
    assert app.tasks["site_tasks.add"].delay(1, y=2).get() == 3


def test_a_backend_with_columns_keeps_no_stamps_so_it_gives_no_results(make_app, tasks):
    make_app(result_backend="rpc://", result_extended=True).set_current()
    assert not tasks.add.get_backend().supports_get_result
