"""Operations as steps: what they send, and what they make of the replies, apart from how it is sent.

Such an operation is a generator. It yields what is to be done, is told the replies or the error, and returns its
result. ``run`` does it in the caller's thread, ``run_awaited`` on an event loop: no operation is written twice.
"""

import asyncio
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from celery_dtimer.timer.connecting.links import links_of
from celery_dtimer.timer.connecting.server import Command, Server

T = TypeVar("T")


class Sending(NamedTuple):
    """Commands to be sent: the arguments of ``Server.send``. The step is told their replies."""

    server: Server
    commands: Sequence[Command]
    together: bool = False
    patience: float = 0.0
    meanwhile: Callable[[], None] | None = None


class Pause(NamedTuple):
    """Seconds to wait. The step is told nothing."""

    seconds: float

    def now(self) -> None:
        """Wait."""
        # Looked up now: in a worker of greenlets, it is not Python's own.
        time.sleep(self.seconds)

    async def awaited(self) -> None:
        """Wait, on the running loop."""
        await asyncio.sleep(self.seconds)


class Step(Protocol):
    """Anything else that an operation waits for. The step is told what is returned."""

    def now(self) -> Any:
        """Do it."""

    async def awaited(self) -> Any:
        """Do it, on the running loop."""


Steps = Generator[Sending | Step, Any, T]


def run(steps: Steps[T]) -> T:
    """Take the steps of an operation in this thread, which waits for each reply, and return its result.

    Raises:
        Exception: Whatever the operation raises.
    """
    try:
        step = next(steps)
        while True:
            try:
                if isinstance(step, Sending):
                    server, commands, together, patience, meanwhile = step
                    replies: Any = server.send(commands, together=together, patience=patience, meanwhile=meanwhile)
                else:
                    replies = step.now()
            except BaseException as exc:  # noqa: BLE001 - the operation's own to handle, or to let pass
                step = steps.throw(exc)
            else:
                step = steps.send(replies)
    except StopIteration as end:
        result: T = end.value
        return result


async def run_awaited(steps: Steps[T]) -> T:
    """Take the steps of an operation on the running event loop, which goes on meanwhile, and return its result.

    Raises:
        Exception: Whatever the operation raises.
        asyncio.CancelledError: The await was cancelled: what was sent may or may not be carried out.
    """
    try:
        step = next(steps)
        while True:
            try:
                replies: Any = await (_sent(step) if isinstance(step, Sending) else step.awaited())
            except BaseException as exc:  # noqa: BLE001 - the operation's own to handle, or to let pass
                step = steps.throw(exc)
            else:
                step = steps.send(replies)
    except StopIteration as end:
        result: T = end.value
        return result


async def _sent(sending: Sending) -> Any:
    server, commands = sending.server.awaited(sending.commands)
    steps = server.send_steps(commands, together=sending.together, patience=sending.patience)
    if steps is not None:
        return await run_awaited(steps)
    link = await links_of(server).of_this_loop()
    return await link.send(commands)
