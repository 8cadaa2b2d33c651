"""The errors of celery-dtimer: one hierarchy under :class:`DTimerError`.

Each has a builtin second base where a caller would expect one, and carries the offending values as
attributes. The error of redis-py that caused one is its ``__cause__``.
"""

from collections.abc import Sequence
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


class InvalidEventError(DTimerError, ValueError):
    """An argument of a post is not what the timer can store. Nothing was stored."""

    def __init__(self, message: str, *, argument: str, value: Any = None) -> None:
        super().__init__(message)
        self.argument = argument
        self.value = value


class InvalidDelayError(InvalidEventError):
    """A delay or an eta is not a number, not finite, or beyond the year 9999. Nothing was stored."""


class PayloadError(InvalidEventError, TypeError):
    """The arguments are none, or the serializer refused them. Nothing was stored."""


class PayloadTooLargeError(InvalidEventError):
    """The payload is over ``dtimer_max_payload``. Nothing was stored."""

    def __init__(self, message: str, *, size: int, limit: int) -> None:
        super().__init__(message, argument="payload", value=size)
        self.size = size
        self.limit = limit


class EventExistsError(DTimerError, ValueError):
    """An event of this id is pending already, and ``on_conflict`` is ``"error"``. Nothing was changed."""

    def __init__(self, message: str, *, event_id: str, due_ms: int) -> None:
        super().__init__(message)
        self.event_id = event_id
        self.due_ms = due_ms


class TimerUnavailableError(DTimerError, ConnectionError):
    """The timer's Redis did not answer, or with an error. What was asked for may or may not have happened."""

    def __init__(self, message: str, *, event_ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.event_ids = tuple(event_ids)


class NotReplicatedError(DTimerError, RuntimeError):
    """Events are stored, and fewer replicas than ``dtimer_wait_replicas`` have them: a failover may lose them.

    Attributes:
        event_ids: Ids of the events, all of them stored.
        wanted: So many replicas were to have them.
        replicas: So many said in time that they do.
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
