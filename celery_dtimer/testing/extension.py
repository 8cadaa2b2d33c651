"""The timer of an app in the hands of a test: a namespace of its own, and a clock that stands still."""

import time
from typing import Any

from celery import bootsteps

from celery_dtimer.extension import Extension, extension_of
from celery_dtimer.settings import Settings
from celery_dtimer.testing.clock import ClockedServer, delete, set_clock
from celery_dtimer.timer.connecting.cluster import Cluster
from celery_dtimer.timer.connecting.server import Server
from celery_dtimer.timer.storing.namespace import Shards


class VirtualExtension(Extension):
    """The timer of an app during a test.

    Args:
        app: The Celery app.
        given: Settings without their prefix.

    Attributes:
        now_ms: The test's time, in milliseconds since 1970.
        consumers: Those of the app's workers that run in this process.
    """

    def __init__(self, app: Any, given: dict[str, Any]) -> None:
        super().__init__(app, given)
        self.now_ms = time.time_ns() // 1_000_000
        self.consumers: list[Any] = []
        self._clocked: list[Shards] = []

    def shards_of(self, settings: Settings) -> Shards:
        """The stored events, whose scripts go by the clock of the test."""
        shards = super().shards_of(settings)
        if shards not in self._clocked:
            self._clocked.append(shards)
            set_clock(shards, self.now_ms)
        return shards

    def set_clock(self, now_ms: int) -> None:
        """Let it be that time."""
        self.now_ms = now_ms
        set_clock(self.shards, now_ms)

    @property
    def in_flight(self) -> int:
        """How many events the workers of this process have claimed and not decided."""
        dispatchers = (consumer.dtimer.dispatcher for consumer in self.consumers)
        return sum(dispatcher.info()["in_flight"] for dispatcher in dispatchers if dispatcher is not None)

    def delete(self) -> None:
        """Delete what the test has stored, and close the connections."""
        for shards in self._clocked:
            delete(shards)
            shards.servers.close()

    def _connect(self, settings: Settings) -> Server | Cluster:
        return ClockedServer(super()._connect(settings))


class KnownStep(bootsteps.StartStopStep):  # type: ignore[misc] # Celery ships no types
    """Tells the extension of a worker of this process, as long as it lives."""

    name = "dtimer_known"
    requires = ("celery_dtimer.firing.bootstep:DTimerStep",)

    def create(self, consumer: Any) -> None:
        """Say that it is there."""
        extension = extension_of(consumer.app)
        if isinstance(extension, VirtualExtension):
            extension.consumers.append(consumer)

    def shutdown(self, consumer: Any) -> None:
        """Say that it is not any more."""
        extension = extension_of(consumer.app)
        if isinstance(extension, VirtualExtension) and consumer in extension.consumers:
            extension.consumers.remove(consumer)
