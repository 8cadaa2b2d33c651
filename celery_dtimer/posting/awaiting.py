"""Posts that are awaited: Celery makes the message as ever, and what waits for somebody is put off, then awaited."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from celery_dtimer.celery_patches.backends import call_backend_later
from celery_dtimer.extension import extension_of
from celery_dtimer.timer.connecting.steps import Steps, run_awaited

T = TypeVar("T")


@dataclass
class Storing:
    """One event that is to be stored, and what tells monitors of it then."""

    steps: Steps[None]
    tell: list[Callable[[], None]] = field(default_factory=list)


@dataclass
class PutOff:
    """What a call has put off.

    Attributes:
        before: What the result backend does before a task is sent.
        events: The events to be stored: one, unless functions of the user's post others on the way.
        is_open: Whether the call is being made still. Tasks that begin meanwhile keep this context, and must not put
            off what nobody would make up for.
    """

    before: list[Callable[[], None]] = field(default_factory=list)
    events: list[Storing] = field(default_factory=list)
    is_open: bool = True

    async def make_up(self) -> None:
        """Do it all: backends and brokers are spoken to in threads, since Celery's code waits for them."""
        for call in self.before:
            await asyncio.to_thread(call)
        for storing in self.events:
            await run_awaited(storing.steps)
            for tell in storing.tell:
                await asyncio.to_thread(tell)


#: What the awaited call puts off that runs in this context, if one does.
_put_off: ContextVar[PutOff | None] = ContextVar("_put_off", default=None)


def put_off() -> PutOff | None:
    """Return what the awaited call puts off that is being made here; None: nothing is, do it at once."""
    found = _put_off.get()
    return found if found is not None and found.is_open else None


def _calls_before() -> list[Callable[[], None]] | None:
    found = put_off()
    return None if found is None else found.before


async def awaited(app: Any, post: Callable[[], T]) -> T:
    """Make a post without waiting for anybody, then await what it has put off, and return its result.

    Raises:
        Exception: Whatever the post raises.
        asyncio.CancelledError: The await was cancelled; the task may or may not be stored.
    """
    extension_of(app)
    call_backend_later(app, _calls_before)
    later = PutOff()
    token = _put_off.set(later)
    try:
        result = post()
    finally:
        _put_off.reset(token)
        later.is_open = False
    await later.make_up()
    return result
