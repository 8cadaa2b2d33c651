"""Waits until a worker that runs in this process has done all that is due."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from celery.worker import state

from celery_dtimer.celery_patches.worker import requests_in_pool
from celery_dtimer.firing.misfires import LONG_AGO
from celery_dtimer.firing.requests import is_ours
from celery_dtimer.message import StoredMessage, decode, encode
from celery_dtimer.signals import event_cancelled, event_fired, event_parked
from celery_dtimer.testing.clock import wake
from celery_dtimer.testing.extension import VirtualExtension
from celery_dtimer.testing.in_process import is_expired
from celery_dtimer.testing.tasks import PendingTask
from celery_dtimer.timer.checks import kind_of
from celery_dtimer.timer.events import EventInfo, NewEvent, State
from celery_dtimer.timer.times import eta_to_ms

#: Seconds between two looks. They are counted, and no clock is asked: the test may have stopped it.
LOOK = 0.002

#: Looks after which the worker is woken once more.
WAKE_EVERY = 100


class InWorker:
    """The listener of a worker, which is woken by hand.

    Args:
        extension: The app's timer.
        due: Returns what is due and not held.
        patience: Seconds for which it is waited for one instant's tasks.
    """

    def __init__(self, extension: VirtualExtension, due: Callable[[], Sequence[PendingTask]], patience: float) -> None:
        self._extension = extension
        self._due = due
        self._looks = round(patience / LOOK)
        self._patience = patience
        self._expired: list[str] = []
        self._seen: set[str] = set()  # ids of what was fired, cancelled or parked

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note what becomes of events."""

        def gone(id: str, **_: Any) -> None:  # noqa: A002 - the signal's name for it
            self._seen.add(id)

        with ExitStack() as undone:
            for signal in (event_fired, event_cancelled, event_parked):
                signal.connect(gone, weak=False, sender=self._extension.app)
                undone.callback(signal.disconnect, gone, sender=self._extension.app)
            yield

    def prepare(self, ids: Iterable[str], now_ms: int) -> set[str]:
        """Do what must be done before events are due, at ``now_ms``.

        A task that will have expired by then is made to have expired by the worker's clock, which is the host's.

        Returns:
            The events of which Redis knows nothing any more once they are claimed: their run is waited for.
        """
        once = set()
        for event_id in ids:
            info = self._extension.shards.of(event_id).peek(event_id)
            if info is None or info.state is not State.PENDING:
                continue
            if not info.max_redeliveries:
                once.add(event_id)
            stored = decode(info.payload, info.id, info.queue)
            if is_expired(stored.headers, now_ms):
                self._expire(info, stored)
        self._seen -= once
        return once

    def _expire(self, info: EventInfo, stored: StoredMessage) -> None:
        payload = encode(replace(stored, headers={**stored.headers, "expires": LONG_AGO}), info.id, info.queue)
        self._expired.append(info.id)
        event = NewEvent(
            info.id,
            payload,
            "at",
            eta_to_ms(info.due_at),
            info.max_redeliveries,
            info.queue,
            kind_of(stored.headers.get("task")),
            info.tags,
        )
        self._extension.shards.of(info.id).post([event], conflict="replace")

    def settle(self, once: set[str]) -> None:
        """Let the worker run what is due, and wait until it has.

        Args:
            once: What ``prepare`` returned of it.

        Raises:
            TimeoutError: It has not, in time.
        """
        nothing = 0
        pause = threading.Event()
        for look in range(self._looks):
            due = self._due()
            if due and look % WAKE_EVERY == 0:
                wake(self._extension.shards, sorted({task.queue for task in due}))
            # In the order in which a task goes through them: what has left one is in the next, or was.
            claimed = due or self._extension.shards.count().leased or once - self._seen or self._extension.in_flight
            busy = claimed or any(map(is_ours, requests_in_pool()))
            # Another thread may have kept the requests from being read: look twice.
            nothing = 0 if busy else nothing + 1
            if nothing > 1:
                while self._expired:
                    # Celery would discard a later event of the same id too.
                    state.revoked.discard(self._expired.pop())
                return
            pause.wait(LOOK)
        lines = "".join(f"\n  {task}" for task in self._due()) or " nothing"
        running = "".join(f"\n  {request.name}[{request.id}]" for request in filter(is_ours, requests_in_pool()))
        raise TimeoutError(
            f"the worker has not run all that is due within {self._patience:g} s. Does it consume the queue, and does "
            f"no task wait for another?\nDue:{lines}\nRunning:{running or ' nothing'}"
        )
