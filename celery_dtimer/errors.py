"""The errors of celery-dtimer: one hierarchy under :class:`DTimerError`.

Each has a builtin second base where a caller would expect one, and carries the offending values as
attributes. The error of redis-py that caused one is its ``__cause__``.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any


class DTimerError(Exception):
    """Something went wrong in celery-dtimer."""


class SettingsError(DTimerError, ValueError):
    """A ``dtimer_*`` setting is unknown, missing, or of the wrong type."""

    def __init__(self, message: str, *, setting: str, value: Any = None) -> None:
        super().__init__(message)
        self.setting = setting
        self.value = value


class NotInstalledError(DTimerError, RuntimeError):
    """The app of a task has no timer: ``celery_dtimer.install(app)`` was not called."""


class HandlerError(DTimerError, TypeError):
    """A handler of a ``DTimer`` is missing, or can't be called with one argument."""

    def __init__(self, message: str, *, handler: Any = None) -> None:
        super().__init__(message)
        self.handler = handler


class NotListeningError(DTimerError, RuntimeError):
    """The ``DTimer`` has not joined, or has left, and the call needs its listener."""


class NotForTasksError(DTimerError, RuntimeError):
    """A method of ``get_timer(app)`` is for a ``DTimer`` only: an app's tasks are posted by their own methods."""


class InvalidEventError(DTimerError, ValueError):
    """The timer can't store an argument of a post. Nothing was stored."""

    def __init__(self, message: str, *, argument: str, value: Any = None) -> None:
        super().__init__(message)
        self.argument = argument
        self.value = value


class InvalidDelayError(InvalidEventError):
    """A delay or an eta is not a number, not finite, or beyond the year 9999. Nothing was stored."""


class PayloadError(InvalidEventError, TypeError):
    """The arguments are no arguments of a task, or the serializer refused them. Nothing was stored."""


class PayloadTooLargeError(InvalidEventError):
    """The payload is over ``dtimer_max_payload``. Nothing was stored."""

    def __init__(self, message: str, *, size: int, limit: int) -> None:
        super().__init__(message, argument="payload", value=size)
        self.size = size
        self.limit = limit


class EventExistsError(DTimerError, ValueError):
    """An event of this id is pending already, and ``on_conflict`` is ``"error"``. Nothing was changed.

    Attributes:
        event_id: The id.
        due_ms: When it is due, in milliseconds since 1970.
    """

    def __init__(self, *, event_id: str, due_ms: int) -> None:
        due = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=due_ms)
        super().__init__(
            f"event {event_id!r} is pending already, due at {due.isoformat()}: to post the id again, on_conflict must "
            "be 'keep', 'replace' or 'postpone', got 'error'"
        )
        self.event_id = event_id
        self.due_ms = due_ms


class TimerUnavailableError(DTimerError, ConnectionError):
    """The timer's Redis did not answer, or with an error. The operation may or may not have happened.

    Attributes:
        event_ids: Ids of the events concerned.
        asked: False if no connection was free, so that nothing has happened.
    """

    def __init__(self, message: str, *, event_ids: Sequence[str] = (), asked: bool = True) -> None:
        super().__init__(message)
        self.event_ids = tuple(event_ids)
        self.asked = asked


class NotReplicatedError(DTimerError, RuntimeError):
    """Events are stored, and fewer replicas than ``dtimer_wait_replicas`` have them: a failover may lose them.

    Attributes:
        event_ids: Ids of the events, all of them stored.
        wanted: Replicas that should have them.
        replicas: Replicas that confirmed in time to have them.
    """

    def __init__(self, message: str, *, event_ids: Sequence[str], wanted: int, replicas: int) -> None:
        super().__init__(message)
        self.event_ids = tuple(event_ids)
        self.wanted = wanted
        self.replicas = replicas


class EvictionPolicyError(DTimerError, RuntimeError):
    """The timer's Redis may evict the timer's keys when it is full, and ``dtimer_eviction_check`` is ``"error"``.

    Attributes:
        policy: Its ``maxmemory-policy``.
        maxmemory: Its ``maxmemory``, in bytes.
    """

    def __init__(self, message: str, *, policy: str, maxmemory: int) -> None:
        super().__init__(message)
        self.policy = policy
        self.maxmemory = maxmemory


class TimerFullError(DTimerError):
    """The timer's Redis is at its ``maxmemory`` and refused a post, or a change. Nothing was stored or changed.

    Not a ``MemoryError``: a task that fails with one ends its whole worker (``Request.on_failure`` in Celery).
    """


class TooManyHoldsError(DTimerError, RuntimeError):
    """So many tasks, or kinds of events, are held that there is no place for one more. Nothing was changed.

    Attributes:
        name: The task, or the kind.
        most: So many are held.
    """

    most = 27  # bands of instants, see common.lua

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{self.most} tasks at most are held at a time, and {name[:100]!r} would be one more: resume another, "
            "or hold queues"
        )
        self.name = name


class PostManyError(DTimerError):
    """Some events of a ``post_many`` were not stored.

    Attributes:
        stored: Ids of the events that are stored.
        refused: Ids of the events that were refused, since another event of the same id is pending.
        unknown: Ids of the events that may or may not be stored; posting them again is safe.
        not_replicated: Ids of those among the stored that too few replicas have, see ``NotReplicatedError``.
    """

    def __init__(
        self,
        message: str,
        *,
        stored: Sequence[str],
        refused: Sequence[str],
        unknown: Sequence[str],
        not_replicated: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.stored = tuple(stored)
        self.refused = tuple(refused)
        self.unknown = tuple(unknown)
        self.not_replicated = tuple(not_replicated)


class ChangeManyError(DTimerError):
    """Redis did not answer to a part of a ``cancel_many`` or a ``change_many``.

    Attributes:
        answers: The ``Answer`` about each id that was answered.
        unknown: Ids of the events that may or may not be changed. All others that have no answer are as they were.
    """

    def __init__(self, message: str, *, answers: Mapping[str, Any], unknown: Sequence[str]) -> None:
        super().__init__(message)
        self.answers = dict(answers)
        self.unknown = tuple(unknown)
