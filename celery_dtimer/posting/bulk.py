"""Many posts of one task in few round trips: Celery makes their messages one by one, and then they are stored."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from celery_dtimer.errors import InvalidEventError
from celery_dtimer.extension import Extension
from celery_dtimer.posting.patience import pauses, retry_policy
from celery_dtimer.timer.connecting.steps import Steps, run
from celery_dtimer.timer.events import NewEvent
from celery_dtimer.timer.posts import listed
from celery_dtimer.timer.shown import wrong
from celery_dtimer.timer.storing.batches import store_many_steps
from celery_dtimer.timer.times import Delay

#: Options that only one post, or only all posts together, can have.
OF_ONE = ("task_id",)
OF_ALL = ("on_conflict", "max_wait", "retry", "retry_policy")

R = TypeVar("R")


@dataclass(frozen=True)
class TaskPost:
    """One post for a task's ``post_many``: the arguments of ``post``.

    Attributes:
        args: Positional arguments of the task.
        kwargs: Keyword arguments of the task.
        delay: Seconds or a timedelta from now; without a delay and an eta, those of the call hold.
        eta: Or the instant.
        options: As those of ``post``; they go before those of the call.
    """

    args: Iterable[Any] | None = None
    kwargs: Mapping[str, Any] | None = None
    delay: Delay | None = None
    eta: datetime | str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def check_posts(posts: object) -> list[TaskPost]:
    """Return the posts of a call, or raise InvalidEventError if one of them is none."""
    wanted = "argument tuples or TaskPosts"
    made = []
    for number, post in enumerate(listed(posts, f"a list of {wanted}, or another iterable of them")):
        if isinstance(post, tuple | list):
            made.append(TaskPost(post))
        elif isinstance(post, TaskPost):
            _check_options(post.options, number)
            made.append(post)
        else:
            raise wrong("posts", f"{wanted}, such as (argument,); number {number} is neither", post)
    return made


def _check_options(options: object, number: int) -> None:
    if not isinstance(options, Mapping):
        raise wrong("options", "a mapping", options, f", of number {number}")
    for name in (*OF_ALL, "delay", "eta"):
        if name in options:
            where = "post_many(), for all posts" if name in OF_ALL else "its TaskPost"
            raise InvalidEventError(
                f"number {number} has {name} among its options: it goes into {where}",
                argument=name,
                value=options[name],
            )


def check_common(options: Mapping[str, Any]) -> None:
    """Raise InvalidEventError for an option that only one post can have."""
    for name in OF_ONE:
        if options.get(name) is not None:
            raise InvalidEventError(
                f"post_many() takes no {name}: it goes into the options of a TaskPost",
                argument=name,
                value=options[name],
            )


class Batch:
    """The events of one ``post_many``, until they are stored.

    Args:
        extension: The app's timer.
        options: The options of the call.

    Attributes:
        shift_ms: How much later the next one is due, in milliseconds.
        call: What is known of their messages, once it is: they are made by what was so at the first.
    """

    def __init__(self, extension: Extension, options: Mapping[str, Any]) -> None:
        self._extension = extension
        self._policy = retry_policy(extension.app, options)
        self._events: list[NewEvent] = []
        self._stored: list[str] = []  # ids, of which monitors have not been told
        self.shift_ms = 0
        self.call: Any = None
        self._sent_events: dict[str, Callable[[], None]] = {}

    def add(self, event: NewEvent) -> None:
        """Keep an event."""
        self._events.append(event)

    def tell_sent(self, event_id: str, send: Callable[[], None]) -> None:
        """Keep what tells monitors of a task, until it is stored."""
        self._sent_events[event_id] = send

    def store(self, conflict: str, max_wait_ms: int) -> None:
        """Store the events, and tell monitors of those that are stored, see ``store_steps``."""
        try:
            run(self.store_steps(conflict, max_wait_ms))
        finally:
            self.tell_monitors()

    def store_steps(self, conflict: str, max_wait_ms: int) -> Steps[None]:
        """Store the events.

        Raises:
            PostManyError: Not all are stored.
            NotReplicatedError: All are stored, and too few replicas have some of them.
        """

        def on_stored(event: NewEvent, due_ms: int | None) -> None:
            self._stored.append(event.id)
            self._extension.counters.posted(event, due_ms, conflict)

        yield from store_many_steps(
            self._extension.shards,
            self._events,
            conflict,
            max_wait_ms=max_wait_ms,
            pauses=lambda: pauses(self._policy),
            on_stored=on_stored,
        )

    def tell_monitors(self) -> None:
        """Tell monitors of the tasks that are stored by now, if they are told of any."""
        stored, self._stored = self._stored, []
        for event_id in stored if self._sent_events else ():
            self.sent(event_id)

    def sent(self, event_id: str) -> None:
        """Tell monitors of a task, if they are told of any: it is stored, or went to the broker."""
        self._sent_events.pop(event_id, _nothing)()


def _nothing() -> None:
    pass
