"""The AsyncDTimer: a DTimer's operations and listener, on an event loop."""

import asyncio
import inspect
import os
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
import redis
from redis.credentials import CredentialProvider
from rig.keyspace import finish

from celery_dtimer import (
    AsyncDTimer,
    DTimer,
    EventExistsError,
    HandlerError,
    InvalidEventError,
    Post,
    State,
    TimerUnavailableError,
)

#: Methods that an AsyncDTimer lacks: they are for a listener's own thread, or set what it is made of.
NOT_AWAITED = {"confirm_soon", "forked"}


@pytest.fixture
def run(redis_url, timer, store, redis_client):
    """Runs an async function with an AsyncDTimer, which is closed behind it; twice, if it is called twice."""

    def run(function: Callable[[AsyncDTimer], Awaitable[object]], **options: object) -> object:
        async def main() -> object:
            async with AsyncDTimer(redis_url, **options) as awaited:
                return await function(awaited)

        return asyncio.run(asyncio.wait_for(main(), 60))

    yield run
    finish(store, redis_client)


async def until(predicate: Callable[[], object], description: str) -> None:
    """Wait for something, while the loop goes on; a predicate may be async."""
    try:
        async with asyncio.timeout(20):
            while True:
                answer = predicate()
                if await answer if inspect.isawaitable(answer) else answer:
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited 20 s in vain for: {description}") from None


def unleased(awaited):
    """An async predicate: nothing is leased any more."""

    async def unleased():
        return not (await awaited.count()).leased

    return unleased


def test_it_has_all_methods_of_a_dtimer_with_their_arguments():
    names = {name for name, method in inspect.getmembers(DTimer, inspect.isfunction) if not name.startswith("_")}
    assert {name for name in names if not hasattr(AsyncDTimer, name)} == NOT_AWAITED
    for name in names - NOT_AWAITED - {"on_event", "on_error"}:
        method = getattr(AsyncDTimer, name)
        assert inspect.iscoroutinefunction(method), name
        assert inspect.signature(method).parameters == inspect.signature(getattr(DTimer, name)).parameters, name
        assert method.__doc__, name
    assert inspect.signature(AsyncDTimer) == inspect.signature(DTimer)


def test_its_operations_do_what_those_of_a_dtimer_do(run, timer):
    async def main(awaited):
        assert await awaited.post(b"tea", 60, id="tea", kind="drink", tags=["hot"]) == "tea"
        assert (await awaited.peek("tea")) == timer.peek("tea")
        assert await awaited.peek("coffee") is None
        answer = await awaited.change_delay("tea", 300)
        assert answer.due_at == timer.peek("tea").due_at
        assert await awaited.change_eta("tea", answer.due_at - timedelta(seconds=1))
        assert await awaited.post_many([Post("a", 1000, id="a"), Post("b", 2000, id="b")]) == ["a", "b"]
        assert [event.id for event in await awaited.upcoming()] == ["tea", "a", "b"]
        assert [event.id for event in await awaited.upcoming(skip=1, limit=1, payloads=True)] == ["a"]
        assert [event.id for event in await awaited.upcoming(tag="hot")] == ["tea"]
        assert [event.id for event in await awaited.upcoming(kind="drink")] == ["tea"]
        assert await awaited.count() == timer.count()
        assert (await awaited.count(offset=0, duration=500)).pending == 1
        assert (await awaited.run_now("tea")).done
        assert await awaited.cancel("tea")
        assert not await awaited.cancel("tea")
        assert await awaited.hold(kind="drink", why="no water")
        assert [hold.name for hold in await awaited.holds()] == ["drink"]
        assert await awaited.resume(kind="drink")
        assert [answer.id for answer in await awaited.cancel_many(["a", "b"])] == ["a", "b"]

    run(main)
    assert timer.count().pending == 0


def test_in_several_shards_it_asks_all_of_them(redis_url, redis_client):
    async def main():
        async with AsyncDTimer(redis_url, namespace="sharded", shards=3) as awaited:
            ids = await awaited.post_many(Post(b"", 60 + i, id=str(i)) for i in range(20))
            assert (await awaited.count()).pending == 20
            assert [event.id for event in await awaited.upcoming()] == ids
            await awaited.cancel_many(ids)

    asyncio.run(main())


def test_its_errors_are_those_of_a_dtimer(run):
    async def main(awaited):
        await awaited.post("x", 60, id="x")
        with pytest.raises(EventExistsError) as caught:
            await awaited.post("x", 60, id="x")
        assert caught.value.event_id == "x"
        with pytest.raises(InvalidEventError, match="delay"):
            await awaited.post("x", "soon")
        with pytest.raises(InvalidEventError, match="limit"):
            await awaited.upcoming(limit=0)

    run(main)

    async def nowhere():
        async with AsyncDTimer("redis://127.0.0.1:1/0") as awaited:
            with pytest.raises(TimerUnavailableError, match="may or may not be stored") as caught:
                await awaited.post("x", 60, id="x")
            assert caught.value.event_ids == ("x",)
            with pytest.raises(TimerUnavailableError, match="the peek of x has no answer"):
                await awaited.peek("x")

    asyncio.run(nowhere())


def test_what_is_no_argument_of_a_dtimer_is_none_of_its_either():
    with pytest.raises(InvalidEventError, match="redis.Redis, of the same server"):
        AsyncDTimer(redis.asyncio.Redis())
    with pytest.raises(TypeError, match="colour"):
        AsyncDTimer("redis://localhost", colour="red")
    assert repr(AsyncDTimer("redis://:secret@localhost/1")).startswith("<AsyncDTimer redis://:**@localhost/1")


# --- connections and loops


def test_over_a_unix_socket_or_a_client_it_is_the_same(start_redis):
    async def main(place):
        async with AsyncDTimer(place) as awaited:
            assert await awaited.post("x", 60, id="x")
            assert await awaited.cancel("x")

    server = start_redis(unix=True)
    asyncio.run(main(server.url))
    with server.client() as client:
        asyncio.run(main(client))


def test_what_asyncio_connections_lack_is_refused_before_anything_is_sent(redis_url):
    client = redis.Redis.from_url(redis_url, redis_connect_func=lambda connection: connection.on_connect())

    async def main():
        with pytest.raises(ValueError, match="redis_connect_func, which redis-py's asyncio connections do not have"):
            await AsyncDTimer(client).post("x", 60)

    asyncio.run(main())


class Provider(CredentialProvider):
    """Notes in which thread it is asked."""

    def __init__(self):
        self.asked = []

    def get_credentials(self):
        self.asked.append(threading.current_thread() is threading.main_thread())
        return ("default", "")


class AsyncProvider(Provider):
    async def get_credentials_async(self):
        await asyncio.sleep(0)
        return super().get_credentials()


@pytest.mark.parametrize(("kind", "in_loop"), [(Provider, False), (AsyncProvider, True)])
def test_a_credential_provider_is_awaited_or_asked_in_a_thread(start_redis, caplog, kind, in_loop):
    server, provider = start_redis(options={"requirepass": ""}), kind()
    client = server.client(credential_provider=provider)

    async def main():
        async with AsyncDTimer(client) as awaited:
            assert await awaited.peek("x") is None

    asyncio.run(main())
    client.close()
    # Before 5.3, redis-py asks in the thread of the loop, whatever the provider has.
    assert provider.asked[0] is (in_loop or not hasattr(CredentialProvider, "get_credentials_async"))
    assert "compatibility" not in caplog.text


def test_the_child_of_a_fork_has_connections_of_its_own_and_the_parents_go_on(redis_url, timer):
    timer.post_many(Post(str(i), 600, id=str(i)) for i in range(20))
    awaited = AsyncDTimer(redis_url)

    async def ask():
        infos = await asyncio.gather(*(awaited.peek(str(i)) for i in range(20)))
        return [info.payload for info in infos] == [str(i).encode() for i in range(20)]

    async def main():
        assert await ask()
        child = os.fork()
        if not child:
            done = threading.Thread(target=in_child)
            done.start()
            done.join()
            os._exit(1)
        for _ in range(20):
            assert await ask()
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert await ask()

    def in_child():
        # Another loop, in a thread that has none.
        os._exit(0 if asyncio.run(ask()) else 2)

    asyncio.run(main())


# --- cancelled awaits


def test_a_cancelled_await_never_leaves_its_reply_to_another(run, timer):
    """Whatever is cancelled, at whatever instant: each reply is that of its own question."""
    timer.post_many(Post(str(i), 600 + i, id=str(i)) for i in range(50))

    async def ask(awaited, number, answers):
        info = await awaited.peek(str(number))
        answers.append(info.id == info.payload.decode() == str(number))

    async def main(awaited):
        answers: list[bool] = []
        for turn in range(40):
            tasks = [asyncio.create_task(ask(awaited, number, answers)) for number in range(50)]
            for _ in range(turn):
                await asyncio.sleep(0)
            for task in tasks[turn % 3 :: 2]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert len(answers) > 500
        assert all(answers)
        # All connections are free again.
        assert all(await asyncio.gather(*(awaited.peek(str(number)) for number in range(50))))

    run(main)


def test_a_post_that_takes_too_long_is_cancelled_and_the_next_reply_is_right(start_redis):
    server = start_redis()

    async def main():
        async with AsyncDTimer(f"{server.url}?max_connections=2") as awaited:
            await awaited.post("x", 60, id="x")
            server.pause()
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(awaited.post("late", 60, id="late", on_conflict="keep"), 0.05)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(awaited.peek("nobody's"), 0.05)  # no connection was free for it
            server.resume()
            assert (await awaited.peek("x")).id == "x"
            # It may be stored or not: the server was only slow.
            await until(lambda: awaited.peek("late"), "the late post")
            assert (await awaited.count()).pending == 2
            await awaited.cancel_many(["x", "late"])

    asyncio.run(main())


# --- listening


def test_a_handler_is_awaited_and_its_event_confirmed_when_it_returns(run, timer):
    async def main(awaited):
        rung = asyncio.Queue()

        @awaited.on_event
        async def ring(delivery):
            await asyncio.sleep(0.01)
            rung.put_nowait((delivery.payload, asyncio.get_running_loop()))

        await awaited.join()
        await awaited.join()
        await awaited.post(b"wake up", 0.05)
        assert await rung.get() == (b"wake up", asyncio.get_running_loop())
        assert await awaited.leave()
        assert await awaited.leave()

    for _ in range(2):
        run(main)
        assert timer.count().leased == 0
        assert timer.count().pending == 0


def test_an_event_whose_handler_failed_is_told_and_delivered_again(run, timer):
    async def main(awaited):
        errors, redeliveries = [], asyncio.Queue()

        @awaited.on_error
        async def told(exc):
            await asyncio.sleep(0)
            errors.append(exc)
            raise RuntimeError("logged")

        @awaited.on_event
        async def ring(delivery):
            redeliveries.put_nowait(delivery.redeliveries)
            if not delivery.redeliveries:
                raise ValueError("the first time")

        await awaited.join()
        await awaited.post(b"", 0)
        assert [await redeliveries.get(), await redeliveries.get()] == [0, 1]
        assert [str(error) for error in errors] == ["the first time"]
        assert await awaited.leave()

    run(main)
    assert timer.count().leased == 0


def test_no_more_events_are_held_than_max_events_whose_handlers_have_not_ended(run, timer):
    async def main(awaited):
        running, most, go = [], [], asyncio.Event()

        @awaited.on_event
        async def ring(delivery):
            running.append(delivery)
            most.append(len(running))
            await go.wait()
            running.remove(delivery)

        await awaited.post_many(Post(b"", 0) for _ in range(10))
        await awaited.join()
        await until(lambda: len(running) == 3, "three to run")
        assert (await awaited.count()).leased == 3
        awaited.max_events = 4
        await until(lambda: len(running) == 4, "a fourth")
        go.set()
        await until(lambda: len(most) == 10, "all to run")
        assert max(most) == 4
        assert await awaited.leave()

    run(main, max_events=3)
    assert timer.count().pending == 0


def test_an_event_that_is_delivered_once_counts_until_its_handler_has_ended(run):
    async def main(awaited):
        running, go = [], asyncio.Event()

        @awaited.on_event
        async def ring(delivery):
            running.append(delivery)
            await go.wait()

        await awaited.post_many(Post(b"", 0, max_redeliveries=0) for _ in range(3))
        await awaited.join()
        await until(lambda: len(running) == 2, "two to run")
        assert (await awaited.count()).pending == 1
        go.set()
        await until(lambda: len(running) == 3, "the third")
        assert await awaited.leave()

    run(main, max_events=2)


def test_a_handler_that_runs_longer_than_the_lease_keeps_it(run, timer):
    async def main(awaited):
        runs, ended = [], asyncio.Event()

        @awaited.on_event
        async def ring(delivery):
            runs.append(delivery)
            await asyncio.sleep(1.5)
            ended.set()

        await awaited.post(b"", 0)
        await awaited.join()
        await ended.wait()
        assert await awaited.leave()
        assert len(runs) == 1

    run(main, confirm_timeout=0.5, poll_interval=0.1)
    assert timer.count().leased == 0


def test_leave_waits_for_the_handlers_and_not_for_the_one_that_calls_it(run, timer):
    async def main(awaited):
        started, ended = asyncio.Queue(), []

        @awaited.on_event
        async def ring(delivery):
            started.put_nowait(delivery)
            if delivery.payload == b"leaves":
                await until(lambda: started.qsize() == 3, "the others")
                # A task of the handler's counts as the handler.
                ended.append(await asyncio.create_task(awaited.leave()))
            else:
                await asyncio.sleep(0.3)
            ended.append(delivery.payload)

        await awaited.post_many([Post(b"leaves", 0), Post(b"one", 0), Post(b"two", 0)])
        await awaited.join()
        await until(lambda: len(ended) == 4, "all to end")
        assert ended[-2:] == [True, b"leaves"]
        assert sorted(ended[:2]) == [b"one", b"two"]
        await until(unleased(awaited), "the last confirm, by a call of its own")

    run(main)


def test_leave_says_that_a_handler_is_still_running_and_its_event_is_confirmed_later(run, timer):
    async def main(awaited):
        started, go = asyncio.Event(), asyncio.Event()

        @awaited.on_event
        async def ring(delivery):
            started.set()
            await go.wait()

        await awaited.post(b"", 0, id="x")
        await awaited.join()
        await started.wait()
        assert await awaited.leave(0.05) is False
        assert (await awaited.peek("x")).state is State.LEASED
        go.set()
        await until(unleased(awaited), "its confirm")

    run(main)


@pytest.mark.parametrize("setter", ["on_event", "on_error"])
@pytest.mark.parametrize("handler", [print, lambda _: None, None, "x", AsyncDTimer, asyncio.sleep(0).close])
def test_a_handler_that_is_not_async_is_refused_where_it_is_set(setter, handler):
    timer = AsyncDTimer("redis://localhost")
    with pytest.raises(HandlerError, match=setter):
        getattr(timer, setter)(handler)


def test_join_without_a_handler_is_refused(run):
    async def main(awaited):
        with pytest.raises(HandlerError, match=r"on_event\(\) before join\(\)"):
            await awaited.join()

    run(main)


def test_deliveries_are_gone_through_and_confirmed_by_the_caller(run, timer):
    async def main(awaited):
        await awaited.post_many(Post(str(i), 0) for i in range(5))
        seen = []
        async for delivery in awaited:
            seen.append(delivery.payload)
            assert (await awaited.peek(delivery.id)).state is State.LEASED
            assert await awaited.renew(delivery)
            if len(seen) == 1:
                assert await awaited.release(delivery)
            else:
                assert await awaited.confirm(delivery)
            if len(seen) == 6:
                break
        assert sorted(seen) == sorted([seen[0], *(str(i).encode() for i in range(5))])

    run(main, max_events=2)
    assert timer.count().pending == 0


def test_a_leave_ends_the_loop_and_gives_back_what_it_has_not_seen(run, timer):
    async def main(awaited):
        await awaited.post_many(Post(str(i), 0) for i in range(5))
        seen = []

        async def all_claimed():
            return (await awaited.count()).leased == 3

        async for delivery in awaited:
            seen.append(delivery)
            await until(all_claimed, "more to be claimed")
            assert await awaited.leave()
        assert len(seen) == 1
        assert await awaited.confirm(seen[0])
        assert (await awaited.count()).leased == 0
        assert (await awaited.count()).pending == 4

    run(main, max_events=3)


def test_a_timer_has_a_handler_or_is_gone_through(run):
    async def main(awaited):
        @awaited.on_event
        async def ring(delivery):
            pass

        with pytest.raises(HandlerError, match="has an event handler"):
            await anext(aiter(awaited))

    run(main)


def test_a_loop_that_was_closed_before_the_timer_left_leaves_the_events_to_others(redis_url, timer, store, caplog):
    awaited = AsyncDTimer(redis_url)

    async def main():
        @awaited.on_event
        async def ring(delivery):
            raise AssertionError("there is no loop")

        await awaited.join()

    asyncio.run(main())
    timer.post(b"", 0, id="x")
    rung = threading.Event()

    @timer.on_event
    def ring(delivery):
        assert delivery.redeliveries == 0
        timer.confirm(delivery)
        rung.set()

    timer.join()
    assert rung.wait(20)
    assert timer.leave()
    awaited._timer.leave()
