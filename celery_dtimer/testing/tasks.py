"""Tasks as a test sees them: those that wait in the timer, and those that have run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from kombu.message import Message
from kombu.serialization import dumps, loads, registry

from celery_dtimer.message import StoredMessage, decode
from celery_dtimer.timer.events import Upcoming


@dataclass(frozen=True)
class PendingTask:
    """A task that waits in the timer.

    Attributes:
        task: Its name.
        id: Its id.
        args: Its arguments, as the task will get them.
        kwargs: Its keyword arguments.
        due_at: When it is due, in UTC.
        due_in: How long that is from the test's now.
        queue: The queue that it waits in.
        tags: Its tags.
    """

    task: str
    id: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    due_at: datetime
    due_in: timedelta
    queue: str
    tags: tuple[str, ...]
    _content: tuple[str, str] = field(repr=False, compare=False, default=("application/json", "utf-8"))

    def __str__(self) -> str:
        """Say it in one line."""
        tags = f", tags {', '.join(self.tags)}" if self.tags else ""
        return f"{shown_call(self.task, self.args, self.kwargs)} in {self.due_in}, at {self.due_at:%F %T} UTC{tags}"


@dataclass(frozen=True)
class FiredTask:
    """A task that the timer has fired in this process.

    Attributes:
        task: Its name.
        id: Its id: ``app.AsyncResult(id)`` has its result.
        args: Its arguments.
        kwargs: Its keyword arguments.
        at: The test's time at which it ran, in UTC.
        retries: How often it had been retried before.
    """

    task: str
    id: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    at: datetime
    retries: int

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{shown_call(self.task, self.args, self.kwargs)} at {self.at:%F %T} UTC"


def shown_call(task: str, args: Iterable[Any], kwargs: Mapping[str, Any]) -> str:
    """Return a call as it is written."""
    return f"{task}({', '.join([*map(repr, args), *(f'{name}={value!r}' for name, value in kwargs.items())])})"


def message_of(stored: StoredMessage, headers: Mapping[str, Any] | None = None, **options: Any) -> Message:
    """Return a stored message as kombu's; it is the test's own, so whatever it was made with decodes it."""
    return Message(
        body=stored.body,
        content_type=stored.content_type,
        content_encoding=stored.content_encoding,
        properties=stored.properties,
        headers=dict(stored.headers if headers is None else headers),
        accept=[stored.content_type],
        **options,
    )


def pending_task(event: Upcoming, now: datetime) -> PendingTask:
    """Return an event, with its payload, as a test sees it."""
    stored = decode(event.payload or b"", event.id, event.queue)
    body = message_of(stored).decode()
    if "task" in stored.headers:
        name, (args, kwargs, _) = stored.headers["task"], body
    else:
        # Protocol 1.
        name, args, kwargs = body["task"], body["args"], body["kwargs"]
    return PendingTask(
        task=name,
        id=event.id,
        args=tuple(args),
        kwargs=dict(kwargs),
        due_at=event.due_at,
        due_in=event.due_at - now,
        queue=event.queue,
        tags=event.tags or (),
        _content=(stored.content_type, stored.content_encoding),
    )


def has_arguments(task: PendingTask, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None) -> bool:
    """Whether a task's arguments are these, once they are serialized as its own were; None: whatever they are."""
    content = task._content  # noqa: SLF001 - its own
    if args is not None and _as_stored(list(args), content) != list(task.args):
        return False
    return kwargs is None or _as_stored(dict(kwargs), content) == task.kwargs


def _as_stored(value: Any, content: tuple[str, str]) -> Any:
    content_type, encoding = content
    _, _, data = dumps(value, serializer=registry.type_to_name[content_type])
    return loads(data, content_type, encoding, accept=[content_type])
