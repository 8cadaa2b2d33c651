"""The members of a Celery group that the timer takes over: stored in batches, and not with a round trip each."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from celery_dtimer.errors import PostManyError, TimerFullError, TimerUnavailableError
from celery_dtimer.extension import ATTRIBUTE, Extension
from celery_dtimer.posting.bulk import Batch
from celery_dtimer.posting.routing import is_for_another_broker
from celery_dtimer.timer.events import NewEvent
from celery_dtimer.timer.storing.claims import BATCH, BATCH_BYTES

logger = logging.getLogger(__name__)

#: Seconds for which a member waits for those behind it: a group's tasks may come from a slow generator.
LONGEST_WAIT = 1.0


class Members(Batch):
    """The members of one group that are taken over and not stored yet: at most as many as one call of post.lua takes.

    Args:
        extension: The app's timer.
    """

    def __init__(self, extension: Extension) -> None:
        super().__init__(extension, {})
        self._added_at: list[float] = []  # monotonic instants, of each event
        self._bytes = 0
        self._elsewhere: bool | None = None
        self._native: dict[str, Callable[[], None]] = {}

    def add(self, event: NewEvent) -> None:
        """Keep a member."""
        super().add(event)
        self._added_at.append(time.monotonic())
        self._bytes += len(event.payload)

    def otherwise(self, publish: Callable[[], None], policy: dict[str, Any] | None) -> None:
        """Keep what publishes the member that was added last to the broker, if the timer can't take it after all."""
        self._native[self._events[-1].id] = publish
        self._policy = policy

    def are_elsewhere(self, call: Mapping[str, Any]) -> bool:
        """Whether another broker than the app's sends them: asked once, since they have one producer."""
        if call.get("connection"):
            return is_for_another_broker(self._extension.app, call)
        if self._elsewhere is None:
            self._elsewhere = is_for_another_broker(self._extension.app, call)
        return self._elsewhere

    @property
    def enough(self) -> bool:
        """Whether they should be stored before there are more."""
        return bool(self._events) and (
            len(self._events) >= BATCH
            or self._bytes >= BATCH_BYTES
            or time.monotonic() - self._added_at[0] >= LONGEST_WAIT
        )

    def flush(self) -> None:
        """Store them; those that the timer can't take go to the broker, as a call by itself would.

        Raises:
            NotReplicatedError: All are stored, and too few replicas have some of them.
            PostManyError: The same, and the others went to the broker.
        """
        if not self._events:
            return
        now = time.monotonic()
        waited = [int((now - at) * 1000) for at in self._added_at]
        events = [
            # A countdown began when the member was sent.
            replace(event, when_ms=max(0, event.when_ms - ms)) if event.clock == "in" and ms else event
            for event, ms in zip(self._events, waited, strict=True)
        ]
        native, self._native = self._native, {}
        self._events, self._added_at, self._bytes = events, [], 0
        try:
            self.store("replace", 0)
        except PostManyError as exc:
            if not isinstance(exc.__cause__, TimerFullError | TimerUnavailableError):
                raise
            stored = set(exc.stored)
            left = [event.id for event in events if event.id not in stored]
            logger.warning(
                "dtimer: %d of %d tasks of a group were refused by the timer, and go to the broker: %s",
                len(left),
                len(events),
                exc.__cause__,
                extra={"dtimer_events": left},
            )
            for event_id in left:
                native[event_id]()
                self.sent(event_id)
            if exc.not_replicated:
                raise
        finally:
            self._events = []


class _Open(threading.local):
    """The groups whose members this thread sends now, by their producer; the inner ones of a group share its own."""

    def __init__(self) -> None:
        self.members: dict[int, Members] = {}


_OPEN = _Open()


def members_of(call: Mapping[str, Any]) -> Members | None:
    """Return where a call's event is kept with others, if it is a member of a group that is being sent."""
    if not _OPEN.members:
        return None
    return _OPEN.members.get(id(call.get("producer") or call.get("publisher")))


def gathering(app: Any, producer: Any) -> AbstractContextManager[None] | None:
    """Return the context in which the members of a group are sent; None if it is not the timer's to gather them."""
    extension = getattr(app, ATTRIBUTE, None)
    if not isinstance(extension, Extension) or id(producer) in _OPEN.members:
        return None
    return _gathering(extension, producer)


@contextmanager
def _gathering(extension: Extension, producer: Any) -> Iterator[None]:
    members = _OPEN.members[id(producer)] = Members(extension)
    try:
        # If this raises, the group was not sent, and what was not stored yet is not.
        yield
    finally:
        del _OPEN.members[id(producer)]
    members.flush()
