"""What a post returns: an AsyncResult that can also ask the timer."""

from datetime import datetime
from typing import Any

from celery.result import AsyncResult

from celery_dtimer.extension import extension_of
from celery_dtimer.posting.when import eta_of
from celery_dtimer.timer.events import Cancellation, EventInfo
from celery_dtimer.timer.shards import Shards
from celery_dtimer.timer.times import Delay, delay_to_ms


class TimerResult(AsyncResult):  # type: ignore[misc] # Celery ships no types
    """The result of a task that was posted, and its event in the timer.

    Every method raises ``TimerUnavailableError`` if the timer's Redis does not answer.
    """

    def peek(self) -> EventInfo | None:
        """Say where the event is: pending, leased or parked, due when; None once it is confirmed or cancelled."""
        return self._shards.peek(self.id)

    def cancel(self) -> Cancellation:
        """End the task, unless a worker has it already. The answer is truthy only if it will not run.

        A task that was cancelled never gets a result: ``get()`` on it waits in vain, as on one that was lost.
        """
        return self._shards.cancel(self.id)

    def change_delay(self, delay: Delay) -> bool:
        """Let the task be due ``delay`` from now. False, and nothing changed, if it does not wait any more."""
        return self._shards.change(self.id, "in", delay_to_ms(delay)) is not None

    def change_eta(self, eta: datetime | str) -> bool:
        """Let the task be due at ``eta``. False, and nothing changed, if it does not wait any more."""
        return self._shards.change(self.id, "at", eta_of(eta)) is not None

    @property
    def _shards(self) -> Shards:
        app: Any = self.app
        return extension_of(app).shards
