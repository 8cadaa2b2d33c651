"""The events of an app as callers see them: with the task that each message calls."""

from dataclasses import dataclass, fields
from typing import Any, Self

from celery.utils.saferepr import saferepr

from celery_dtimer import message
from celery_dtimer.timer.events import EventInfo, Upcoming
from celery_dtimer.timer.parked import ParkedEvent


@dataclass(frozen=True)
class TaskInfo(EventInfo):
    """What ``peek`` saw of a task.

    Attributes:
        task: The task's name; None if the stored message can't be read.
        args: Its arguments as Celery shows them: a repr, which may be cut.
        kwargs: The same of its keyword arguments.
    """

    task: str | None
    args: str
    kwargs: str

    @classmethod
    def of(cls, info: EventInfo) -> Self:
        """Return the info of an event with its message's task."""
        return cls(**with_task(info))


@dataclass(frozen=True)
class UpcomingTask(Upcoming):
    """One pending task in a page of ``upcoming``, with ``task``, ``args`` and ``kwargs`` as a TaskInfo has them."""

    task: str | None
    args: str
    kwargs: str


@dataclass(frozen=True)
class ParkedTask(ParkedEvent):
    """One parked task in a page of ``parked``; its ``kind`` is the task's name."""

    @property
    def task(self) -> str | None:
        """The task's name; None for one whose message does not say it outside of its body."""
        return self.kind

    def as_dict(self) -> dict[str, Any]:
        """Return all as JSON has it: times in ISO 8601, in UTC."""
        return {"task" if name == "kind" else name: value for name, value in super().as_dict().items()}


def with_task(event: EventInfo | Upcoming) -> dict[str, Any]:
    """Return the fields of an event, and its message's task; the payload has to be there."""
    try:
        stored = message.decode(event.payload or b"", event.id, event.queue)
        headers = stored.headers if "task" in stored.headers else _of_protocol_1(stored)
    except message.UnknownFormatError:
        headers = {}
    name = headers.get("task")
    return {
        **{field.name: getattr(event, field.name) for field in fields(event)},
        "task": None if name is None else _text(name),
        "args": _text(headers.get("argsrepr")),
        "kwargs": _text(headers.get("kwargsrepr")),
    }


def _of_protocol_1(stored: message.StoredMessage) -> dict[str, Any]:
    """Return the task, args and kwargs in the body of protocol 1; nothing, if decoding it may run code."""
    try:
        body = message.readable_body(stored)
        return {"task": body["task"], "argsrepr": saferepr(body["args"]), "kwargsrepr": saferepr(body["kwargs"])}
    except Exception:  # noqa: BLE001 - a hostile body may raise anything, and the list goes on
        return {}


def _text(value: Any) -> str:
    """Return a header that should be text, and may be anything."""
    if isinstance(value, str):
        return value
    return "" if value is None else repr(value)
