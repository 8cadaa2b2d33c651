"""Counts how many frames of celery-dtimer's are on the stack where something happens."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import redis
from redis.connection import AbstractConnection

import celery_dtimer

OURS = str(Path(celery_dtimer.__file__).parent)


def ours(frame: FrameType | None) -> list[str]:
    """Return the functions of ours on the stack, the innermost first."""
    found = []
    while frame is not None:
        if frame.f_code.co_filename.startswith(OURS):
            found.append(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_qualname}")
        frame = frame.f_back
    return found


@contextmanager
def stacks_of_sending(tell: Callable[[list[str], bytes], None]) -> Iterator[None]:
    """Tell of each command that redis-py sends: the functions of ours on the stack, and the bytes."""
    send = AbstractConnection.send_packed_command

    def sending(self: Any, command: Any, *args: Any, **options: Any) -> Any:
        data = command if isinstance(command, bytes) else b"".join(bytes(part) for part in command)
        tell(ours(sys._getframe()), data)
        return send(self, command, *args, **options)

    AbstractConnection.send_packed_command = sending
    try:
        yield
    finally:
        AbstractConnection.send_packed_command = send


def stack_of_putting(act: Callable[[], Any]) -> list[str]:
    """Return the functions of ours on the stack where ``act`` puts something into a mailbox."""
    found: list[list[str]] = []

    def profile(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ == "put":
            found.append(ours(frame))

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        act()
    finally:
        sys.setprofile(before)
    return max(found, key=len)


def round_trips(client: redis.Redis) -> int:
    """Return how many commands a server has carried out."""
    return int(client.info("stats")["total_commands_processed"])
