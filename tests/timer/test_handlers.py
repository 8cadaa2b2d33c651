"""The handlers of a DTimer: refused where they are set if they can't work, survived and heard whatever they raise."""

import asyncio
import contextlib
import functools
import logging
from unittest import mock

import pytest
from rig.waiting import wait_until

from celery_dtimer import DTimer, HandlerError, State

NOWHERE = "redis://127.0.0.1:1/0"


async def coroutine(delivery):
    pass


async def async_generator(delivery):
    yield delivery


def generator(delivery):
    yield delivery


class Handlers:
    """As a caller's class may have them."""

    async def coroutine(self, delivery):
        pass

    def two(self, delivery, more):
        pass

    def plain(self, delivery, more=None):
        pass

    def __call__(self, delivery):
        pass


class AsyncCallable:
    async def __call__(self, delivery):
        pass


REFUSED = {
    "None": None,
    "a number": 5,
    "a name": "ring",
    "an async function": coroutine,
    "an async generator": async_generator,
    "a generator": generator,
    "an async method": Handlers().coroutine,
    "an object whose call is async": AsyncCallable(),
    "a part of an async function": functools.partial(coroutine),
    "an async mock": mock.AsyncMock(),
    "without a parameter": lambda: None,
    "with two parameters": lambda delivery, more: None,
    "with a required keyword": lambda delivery, *, more: None,
    "a method with two": Handlers().two,
    "a method that is not bound": Handlers.plain,
    "a class without a parameter": Handlers,
}

TAKEN = {
    "a function of one": lambda delivery: None,
    "of any": lambda *rest: None,
    "with a default": Handlers().plain,
    "an object": Handlers(),
    "a part of a function": functools.partial(Handlers().two, more=1),
    "a builtin": print,
    "a list's append": [].append,
    "a mock": mock.Mock(),
    "a class": str,
}


@pytest.mark.parametrize("setter", ["on_event", "on_error"])
@pytest.mark.parametrize("handler", REFUSED.values(), ids=REFUSED)
def test_a_handler_that_cannot_work_is_refused_where_it_is_set(setter, handler):
    with DTimer(NOWHERE) as timer:
        with pytest.raises(HandlerError, match=setter) as caught:
            getattr(timer, setter)(handler)
        assert caught.value.handler is handler
        assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("setter", ["on_event", "on_error"])
@pytest.mark.parametrize("handler", TAKEN.values(), ids=TAKEN)
def test_whatever_can_be_called_with_one_argument_is_a_handler(setter, handler):
    with DTimer(NOWHERE) as timer:
        assert getattr(timer, setter)(handler) is handler


def test_join_without_an_event_handler_is_refused_and_nothing_is_claimed(timer):
    timer.post(b"p", 0, id="x")
    with pytest.raises(HandlerError, match=r"on_event\(\) before join\(\)"):
        timer.join()
    assert timer.peek("x").state is State.PENDING
    with pytest.raises(HandlerError):
        timer.on_event(None)
    with pytest.raises(HandlerError, match=r"on_event\(\) before join\(\)"):
        timer.join()


@contextlib.contextmanager
def listening(timer):
    timer.join()
    yield
    assert timer.leave()


@pytest.mark.parametrize("function", [coroutine, generator, async_generator])
def test_a_handler_that_returns_what_nothing_runs_has_failed(timer, function):
    errors = []
    timer.on_event(lambda delivery: function(delivery.payload))
    timer.on_error(errors.append)
    timer.post(b"p", 0, id="x", max_redeliveries=1)
    with listening(timer):
        wait_until(lambda: timer.peek("x").state is State.PARKED, "the event to be parked")
    assert [type(error) for error in errors] == [HandlerError, HandlerError]
    assert "returned a" in timer.peek("x").reason


def test_a_handler_may_hand_its_work_to_an_event_loop(timer):
    async def main():
        loop, rung = asyncio.get_running_loop(), asyncio.Event()

        async def ring(delivery):
            await asyncio.to_thread(timer.confirm, delivery)
            rung.set()

        timer.on_event(lambda delivery: asyncio.run_coroutine_threadsafe(ring(delivery), loop))
        timer.post(b"p", 0, id="x")
        with listening(timer):
            await asyncio.wait_for(rung.wait(), 20)

    asyncio.run(main())
    assert timer.peek("x") is None


class OddError(Exception):
    """One that can't be shown, or only in characters that no server can be sent."""

    def __init__(self, shown):
        super().__init__()
        self._shown = shown

    def __repr__(self):
        if isinstance(self._shown, BaseException):
            raise self._shown
        return self._shown


class Final(BaseException):
    """Not an Exception."""


RAISED = [
    ValueError("plain"),
    SystemExit(1),
    KeyboardInterrupt(),
    GeneratorExit(),
    StopIteration(),
    Final("own"),
    asyncio.CancelledError(),
    MemoryError(),
    RecursionError(),
    ExceptionGroup("some", [ValueError("one")]),
    BaseExceptionGroup("some", [KeyboardInterrupt()]),
    OddError(RuntimeError("no repr")),
    OddError(SystemExit(2)),
    OddError("\ud800"),
    OddError("x" * 1_000_000),
]


@pytest.mark.parametrize("raised", RAISED, ids=lambda raised: type(raised).__name__)
@pytest.mark.parametrize("where", ["the event handler", pytest.param("both handlers", marks=pytest.mark.slow)])
def test_whatever_handlers_raise_is_heard_and_the_listener_goes_on(timer, caplog, where, raised):
    caplog.set_level(logging.ERROR)
    rung, errors = [], []

    @timer.on_event
    def ring(delivery):
        rung.append(delivery.id)
        if delivery.id == "bad":
            raise raised
        timer.confirm(delivery)

    @timer.on_error
    def fail(exc):
        errors.append(exc)
        if where == "both handlers":
            raise raised

    timer.post(b"p", 0, id="bad", max_redeliveries=1)
    with listening(timer):
        wait_until(lambda: timer.peek("bad").state is State.PARKED, "the event to be parked")
        timer.post(b"p", 0, id="good")
        wait_until(lambda: timer.peek("good") is None, "the event after it")
    assert rung == ["bad", "bad", "good"]
    assert errors == [raised, raised]
    assert len(timer.peek("bad").reason) < 1000
    assert ("the timer's error handler failed" in caplog.text) == (where == "both handlers")


def test_an_error_handler_that_raises_amid_an_outage_does_not_end_the_listener(start_redis, caplog):
    caplog.set_level(logging.ERROR)
    server = start_redis()
    rung, errors = [], []
    with DTimer(server.url) as timer:

        @timer.on_error
        def fail(exc):
            errors.append(exc)
            raise SystemExit(1)

        timer.on_event(lambda delivery: (rung.append(delivery.id), timer.confirm(delivery)))
        timer.join()
        server.stop()
        wait_until(lambda: errors, "the error")
        server.start()
        timer.post(b"p", 0, id="x")
        wait_until(lambda: rung == ["x"], "the event")
    assert len(errors) == 1
    assert "the timer's error handler failed" in caplog.text


def test_without_an_error_handler_what_a_handler_raises_is_logged_once_for_each_delivery(timer, caplog):
    caplog.set_level(logging.ERROR)

    @timer.on_event
    def fail(delivery):
        raise Final("own")

    timer.post(b"p", 0, id="x", max_redeliveries=1)
    with listening(timer):
        wait_until(lambda: timer.peek("x").state is State.PARKED, "the event to be parked")
    assert caplog.text.count("the timer failed: Final('own')") == 2
