"""The step that starts and stops firing with a worker's consumer; dispatcher.py does the work."""

from contextlib import suppress
from typing import Any

from celery import bootsteps, signals
from redis.exceptions import RedisError

from celery_dtimer.celery_patches.worker import before_soft_shutdown
from celery_dtimer.extension import extension_of
from celery_dtimer.firing.dispatcher import Dispatcher
from celery_dtimer.timer.connecting.eviction import check_eviction
from celery_dtimer.timer.owners import APP


class DTimerStep(bootsteps.StartStopStep):  # type: ignore[misc] # Celery ships no types
    """Runs the timer's listener inside the worker.

    Celery stops and starts a consumer's steps at every reconnect to the broker too. The listener lives on through that,
    since running tasks go on: it only stops claiming until the consumer is back.
    """

    name = "dtimer"
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self.dispatcher: Dispatcher | None = None
        # Where Celery's own steps stand too: remote control finds it there.
        consumer.dtimer = self

    def create(self, consumer: Any) -> None:
        """Check the settings, and the Redis as far as it answers, while the worker can still refuse to start."""
        extension = extension_of(consumer.app)
        shards = extension.shards
        with suppress(RedisError, OSError):
            shards[0].check_layout()
        check_eviction(shards.servers, extension.settings.eviction_check, APP)
        # The pool's processes are forked after this, and hold them too.
        extension.hold()
        # They need none of the connections.
        shards.servers.disconnect()
        # Before any signal is handled: Celery takes a lock to connect, and the same lock in its handlers.
        self._watch_for_shutdown(consumer)

    def start(self, consumer: Any) -> None:
        """Fire, from now on, into this consumer."""
        if self.dispatcher is None:
            self.dispatcher = Dispatcher(extension_of(consumer.app), consumer)
        self.dispatcher.start()

    def _watch_for_shutdown(self, consumer: Any) -> None:
        """Pause with the signal that ends the worker: its loop may notice seconds later, or after a task."""
        signals.worker_shutting_down.connect(self._pause, sender=consumer.hostname)
        before_soft_shutdown(consumer.controller, self._pause)

    def _pause(self, **_: Any) -> None:
        # In a signal's handler: it takes no lock, logs nothing and waits for nothing.
        if self.dispatcher is not None:
            self.dispatcher.pause()

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:
        """Be woken by the hub when there is something to fire; called at every start of its loop."""
        del consumer
        if self.dispatcher is not None:
            self.dispatcher.register(hub)

    def stop(self, consumer: Any) -> None:
        """Pause firing, and release the deliveries not handed over: a reconnect, or the start of a shutdown."""
        del consumer
        self._pause()

    def terminate(self, consumer: Any) -> None:
        """The same at a cold shutdown."""
        self.stop(consumer)

    def shutdown(self, consumer: Any) -> None:
        """The pool has stopped: confirm what it finished, and release the rest."""
        dispatcher, self.dispatcher = self.dispatcher, None
        if dispatcher is not None:
            dispatcher.stop()
        extension_of(consumer.app).let_go()

    def info(self, consumer: Any) -> dict[str, Any]:
        """Return the timer's part of ``celery inspect stats``."""
        del consumer
        return {"dtimer": self.dispatcher.info() if self.dispatcher is not None else None}
