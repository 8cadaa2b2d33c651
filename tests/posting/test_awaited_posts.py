"""apost_in, apost_at and apost, and the awaited methods of a result: what their sync ones do, on an event loop."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from celery.exceptions import TaskRevokedError
from celery.signals import before_task_publish
from rig.frames import ours, stacks_of_sending

import celery_dtimer
from celery_dtimer import (
    EventExistsError,
    InvalidDelayError,
    NotInstalledError,
    PayloadTooLargeError,
    State,
    TimerResult,
    TimerUnavailableError,
)

SOON = datetime(2100, 1, 1, tzinfo=UTC)


def nothing():
    """Be what a task is made of."""


def test_an_awaited_post_stores_the_message_that_a_post_stores(add, stored):
    async def main():
        return [
            await add.apost_in(60, 1, y=2),
            await add.apost_at(SOON, 1, y=2),
            await add.apost((1,), {"y": 2}, delay=timedelta(minutes=1), queue="other", priority=3),
        ]

    awaited = asyncio.run(main())
    plain = [
        add.post_in(60, 1, y=2),
        add.post_at(SOON, 1, y=2),
        add.post((1,), {"y": 2}, delay=timedelta(minutes=1), queue="other", priority=3),
    ]
    for one, other in zip(awaited, plain, strict=True):
        assert isinstance(one, TimerResult)
        assert type(one) is type(other)
        mine, its = stored(one), stored(other)
        assert mine.body == its.body
        assert (mine.exchange, mine.routing_key) == (its.exchange, its.routing_key)
        assert mine.headers.keys() == its.headers.keys()
        differing = {"id", "root_id", "delivery_tag", "correlation_id"}
        assert {k: v for k, v in mine.headers.items() if k not in differing} == {
            k: v for k, v in its.headers.items() if k not in differing
        }
        assert abs(one.peek().due_at - other.peek().due_at) < timedelta(seconds=30)


def test_the_awaited_methods_of_a_result_do_what_the_others_do(add):
    async def main():
        result = await add.apost_in(60, 1)
        assert await result.apeek() == result.peek()
        answer = await result.achange_delay(600)
        assert answer.due_at == result.peek().due_at
        assert not await result.achange_eta(SOON, if_due_at=SOON)
        assert (await result.achange_eta(SOON)).due_at == SOON
        assert (await result.arun_now()).state is State.PENDING
        assert await result.acancel()
        assert not await result.acancel()
        assert await result.apeek() is None
        with pytest.raises(TaskRevokedError):
            await asyncio.to_thread(result.get, timeout=10)

    asyncio.run(main())


def test_a_task_that_ran_at_once_has_the_awaited_methods_too(app, add):
    app.conf.task_always_eager = True

    async def main():
        result = await add.apost_in(60, 1, 2)
        assert result.get() == 3
        assert await result.apeek() is None
        assert not await result.acancel()
        assert not await result.achange_delay(1)
        assert not await result.achange_eta(SOON)
        assert not await result.arun_now()

    asyncio.run(main())


def test_the_errors_are_those_of_a_post(add, make_app):
    async def main():
        await add.apost((1,), delay=60, task_id="x")
        with pytest.raises(EventExistsError) as caught:
            await add.apost((1,), delay=60, task_id="x")
        assert caught.value.event_id == "x"
        await add.apost((2,), delay=600, task_id="x", on_conflict="replace")
        with pytest.raises(InvalidDelayError):
            await add.apost_in("soon", 1)
        with pytest.raises(PayloadTooLargeError):
            await add.apost_in(60, "x" * 1_000_000)
        with pytest.raises(TypeError, match="unexpected keyword argument 'queue'") as refused:
            await add.apost_in(60, 1, queue="other")
        assert "post(args, kwargs, delay=..., queue=...)" in refused.value.__notes__[0]
        nowhere = make_app(dtimer_url="redis://127.0.0.1:1/0").task(name="nowhere")(nothing)
        with pytest.raises(TimerUnavailableError, match="may or may not be stored"):
            await nowhere.apost(delay=60, retry=False)
        with pytest.raises(TimerUnavailableError):
            await TimerResult("x", app=nowhere.app).apeek()

    asyncio.run(main())
    assert TimerResult("x", app=add.app).peek().args == "(2,)"


def test_an_app_without_a_timer_is_refused(make_app):
    task = make_app(installed=False).task(name="bare", base=celery_dtimer.DTimerTask)(nothing)

    async def main():
        with pytest.raises(NotInstalledError):
            await task.apost_in(60)

    asyncio.run(main())


def test_a_post_is_tried_again_by_its_policy_while_the_loop_goes_on(make_app, start_redis):
    server = start_redis()
    task = make_app(dtimer_url=server.url).task(name="late")(nothing)
    server.kill()
    policy = {"max_retries": 200, "interval_start": 0.05, "interval_step": 0, "interval_max": 0.05}

    async def main():
        posting = asyncio.create_task(task.apost(delay=60, retry=True, retry_policy=policy))
        await asyncio.sleep(0)
        await asyncio.to_thread(server.restart)
        result = await posting
        assert await result.acancel()

    asyncio.run(main())


def test_nothing_is_sent_by_sync_connections_in_the_thread_of_the_loop(make_app, redis_url, redis_client):
    app = make_app(dtimer_url=redis_url, broker_url=redis_url, result_backend=redis_url, task_send_sent_event=True)
    task = app.task(name="quiet")(nothing)
    sent = []

    def tell(stack, data):
        sent.append((threading.current_thread() is threading.main_thread(), stack, data))

    async def main():
        with stacks_of_sending(tell):
            result = await task.apost_in(60)
            await result.apeek()
            await result.achange_delay(100)
            assert await result.acancel()
        return result

    result = asyncio.run(main())
    assert result.state == "REVOKED"
    assert sent, "the monitoring event, and the state"
    assert [entry for entry in sent if entry[0]] == []
    assert ours(None) == []
    redis_client.flushdb()


def test_a_result_of_redis_is_received_without_listening_for_it_before(make_app, redis_url, redis_client):
    app = make_app(dtimer_url=redis_url, result_backend=redis_url)
    task = app.task(name="quiet")(nothing)

    async def main():
        result = await task.apost_in(60)
        getting = asyncio.create_task(asyncio.to_thread(result.get, timeout=20))
        await asyncio.to_thread(app.backend.mark_as_done, result.id, "done")
        assert await getting == "done"
        await result.acancel()

    asyncio.run(main())
    redis_client.flushdb()


def test_the_queue_of_an_rpc_result_is_there_before_the_task_is_stored(make_app, redis_url):
    app = make_app(dtimer_url=redis_url, result_backend="rpc://")
    task = app.task(name="asks")(nothing)

    async def main():
        result = await task.apost_in(60)
        await result.acancel()

    asyncio.run(main())
    with app.connection_for_read() as connection:
        # It has the message that the task is revoked.
        assert connection.default_channel.queue_declare(app.thread_oid, passive=True).message_count == 1


def test_what_a_backend_of_the_users_does_for_a_call_is_done_in_a_thread(app, add, monkeypatch):
    told = []

    class Backend(type(app.backend)):
        def on_task_call(self, _, task_id):
            told.append((task_id, threading.current_thread() is threading.main_thread()))

    monkeypatch.setattr(app.backend, "__class__", Backend)
    awaited = asyncio.run(_posted(add))
    plain = add.post_in(60, 1)
    assert told == [(awaited.id, False), (plain.id, True)]


async def _posted(task):
    return await task.apost_in(60, 1)


def test_monitors_are_told_of_an_awaited_post_when_it_is_stored(app, add, monkeypatch):
    app.conf.task_send_sent_event = True
    received = []

    def published(self, kind, fields, producer, **options):
        received.append((kind, TimerResult(fields["uuid"], app=app).peek() is not None))

    monkeypatch.setattr(app.events.Dispatcher, "publish", published)
    asyncio.run(_posted(add))
    assert received == [("task-sent", True)]


def test_a_post_of_a_task_class_of_the_users_is_called_by_the_awaited_one(app):
    class Twice(app.Task):
        def post_in(self, delay, *args, **kwargs):
            return celery_dtimer.DTimerTask.post_in(self, delay * 2, *args, **kwargs)

    task = app.task(name="twice", base=Twice)(nothing)

    async def main():
        result = await task.apost_in(600)
        assert (await result.apeek()).due_at > datetime.now(UTC) + timedelta(seconds=1000)

    asyncio.run(main())


def test_what_a_receiver_posts_is_stored_too_whenever_it_does(app, add):
    """Before the task itself, or in a task of the loop's that begins meanwhile and posts later."""
    other, tasks = app.task(name="other")(nothing), []

    async def later():
        await asyncio.sleep(0.05)
        return other.post_in(60)

    @before_task_publish.connect(weak=False)
    def receive(sender, **_):
        if sender == "add":
            tasks.append(asyncio.get_running_loop().create_task(later()))
            tasks.append(other.post_in(60))

    async def main():
        result = await add.apost_in(60, 1)
        return [await result.apeek(), await (await tasks[0]).apeek(), await tasks[1].apeek()]

    try:
        assert [info.task for info in asyncio.run(main())] == ["add", "other", "other"]
    finally:
        before_task_publish.disconnect(receive)


def test_what_a_receiver_calls_is_taken_over_or_goes_to_the_broker_at_once(app, add, timer):
    app.conf.dtimer_takeover = 10
    other, called = app.task(name="other")(nothing), []

    @before_task_publish.connect(weak=False)
    def receive(sender, **_):
        if sender == "add":
            called.append(other.apply_async(countdown=60))
            assert called[0].peek().task == "other"

    try:
        result = asyncio.run(_posted(add))
        assert result.peek().task == "add"
    finally:
        before_task_publish.disconnect(receive)


def test_a_shared_task_has_the_awaited_methods(app):
    @celery_dtimer.dtimer_task(name="shared")
    def shared():
        pass

    async def main():
        result = await app.tasks["shared"].apost_in(60)
        assert (await result.apeek()).task == "shared"

    asyncio.run(main())


def test_a_cancelled_post_is_stored_or_not_and_the_next_is_right(add):
    async def main():
        cancelled = 0
        for number in range(60):
            posting = asyncio.create_task(add.apost((number,), delay=600, task_id=f"late-{number}"))
            for _ in range(number // 4):
                await asyncio.sleep(0)
            cancelled += posting.cancel()
            await asyncio.gather(posting, return_exceptions=True)
            result = await add.apost((number,), delay=600, task_id=str(number))
            assert (await result.apeek()).args == f"({number},)"
        assert cancelled > 20

    asyncio.run(main())
