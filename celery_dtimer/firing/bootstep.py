"""The step that starts and stops firing with a worker's consumer. What is fired when is in delivery.py."""

from contextlib import suppress
from typing import Any

from celery import bootsteps, signals
from redis.exceptions import RedisError

from celery_dtimer.extension import extension_of
from celery_dtimer.firing.delivery import Firing
from celery_dtimer.timer.health import check_eviction


class DTimerStep(bootsteps.StartStopStep):  # type: ignore[misc] # Celery ships no types
    """Runs the timer's listener inside the worker.

    A consumer's steps are stopped and started at every reconnect to the broker too. The listener lives on through
    that, since tasks that run go on running: it only stops claiming until the consumer is back.
    """

    name = "dtimer"
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self.firing: Firing | None = None

    def create(self, consumer: Any) -> None:
        """Check the settings, and the Redis as far as it answers, while the worker can still refuse to start."""
        extension = extension_of(consumer.app)
        shards = extension.shards
        with suppress(RedisError, OSError):
            shards.settle()
        check_eviction(shards.servers, extension.settings.eviction_check)
        # The pool's processes are forked after this, and need none of it.
        shards.servers.disconnect()

    def start(self, consumer: Any) -> None:
        """Fire, from now on, into this consumer."""
        if self.firing is None:
            self.firing = Firing(extension_of(consumer.app), consumer)
            self._watch_for_shutdown(consumer)
        self.firing.start()

    def _watch_for_shutdown(self, consumer: Any) -> None:
        """Pause with the signal that ends the worker: its loop may notice seconds later, or when a task has ended."""
        signals.worker_shutting_down.connect(self._pause, sender=consumer.hostname)
        wait = getattr(consumer.controller, "wait_for_soft_shutdown", None)
        if wait is not None:

            def wait_for_soft_shutdown() -> Any:
                # That signal comes after the wait for the tasks that run.
                self._pause()
                return wait()

            consumer.controller.wait_for_soft_shutdown = wait_for_soft_shutdown

    def _pause(self, **_: Any) -> None:
        if self.firing is not None:
            self.firing.pause()

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:
        """Be woken by the hub when there is something to fire; asked for at every start of the loop."""
        del consumer
        if self.firing is not None:
            self.firing.register(hub)

    def stop(self, consumer: Any) -> None:
        """Fire nothing more, and give back what was not handed over: a reconnect, or the start of a shutdown."""
        del consumer
        self._pause()

    def terminate(self, consumer: Any) -> None:
        """The same at a cold shutdown."""
        self.stop(consumer)

    def shutdown(self, consumer: Any) -> None:
        """The pool has stopped: confirm what it finished, and release the rest."""
        del consumer
        firing, self.firing = self.firing, None
        if firing is not None:
            firing.stop()

    def info(self, consumer: Any) -> dict[str, Any]:
        """Return what ``celery inspect stats`` shows of the timer."""
        del consumer
        return {"dtimer": self.firing.info() if self.firing is not None else None}
