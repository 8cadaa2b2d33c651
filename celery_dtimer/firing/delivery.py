"""When a worker is handed what it claimed: as soon as its pool can start it. What others may start sooner goes back."""

import logging
import time
from functools import partial
from typing import Any

from celery_dtimer import message
from celery_dtimer.errors import TimerFullError, TimerUnavailableError
from celery_dtimer.extension import Extension
from celery_dtimer.firing import pools
from celery_dtimer.firing.capacity import UNLIMITED, Capacity
from celery_dtimer.firing.channel import Channel
from celery_dtimer.firing.inbox import Entry, Inbox
from celery_dtimer.firing.threads import FAREWELL, HubThread, OwnThread
from celery_dtimer.timer.events import Delivery, NewEvent
from celery_dtimer.timer.listener import Listener
from celery_dtimer.timer.shard_listener import PATIENCE_MS, Room

logger = logging.getLogger(__name__)

#: Seconds after which what waits for a slot is given back to those who have one: as long as no task ends.
GIVE_BACK = 0.05

#: The same where there are slots, but the thread that fires does not come round to use them.
STUCK = 1.0


class Firing:
    """Fires the deliveries of one worker.

    Args:
        extension: The app's timer.
        consumer: The worker's ``celery.worker.consumer.Consumer``.
    """

    def __init__(self, extension: Extension, consumer: Any) -> None:
        settings = extension.settings
        self._consumer = consumer
        self._shards = extension.shards
        self._inbox = Inbox()
        self._started = False
        self._blocked = False  # the pool can't start what is next
        self._full = False  # the listener was told that there is no room, and waits to hear that there is
        self._stuck = False  # who hands over did not come round for too long: nothing is claimed until it does
        self._channel = Channel(consumer)
        self._capacity = Capacity(consumer, settings.max_events, self._channel.is_ours)
        self._listener = self._channel.listener = Listener(
            self._shards,
            queues=self._queues,
            deliver=self._receive,
            max_events=self._capacity.max_events,
            confirm_timeout=settings.confirm_timeout,
            poll_interval=settings.poll_interval,
            alive=self._channel.is_alive,
            room=self._room,
            look_after=self._look_after_inbox,
            on_error=partial(logger.debug, "dtimer: %r"),
            name=consumer.hostname,
        )
        self._thread = (
            HubThread(self._fire_next) if consumer.hub else OwnThread(consumer.pool, self._inbox, self._fire_next)
        )
        pools.keep_running(consumer.pool)
        pools.watch(
            consumer.pool,
            ours=self._channel.is_ours,
            on_accepted=self._channel.on_accepted,
            on_cancelled=self._channel.on_cancelled,
            on_ran=self._capacity.ran,
            on_free=self._on_free,
        )

    # --- called by the step, in the worker's main thread

    def start(self) -> None:
        """Hand deliveries to the consumer as it is now."""
        self._channel.open()
        if self._started:
            self._listener.resume()
            self._thread.wake()
            logger.info("dtimer: firing again")
            return
        self._started = True
        self._thread.start()
        self._listener.start()
        logger.info("dtimer: firing up to %d events at a time", self._listener.max_events)

    def register(self, hub: Any) -> None:
        """Be called by the hub when there is something in the inbox."""
        self._thread.register(hub)

    def pause(self) -> None:
        """Claim and hand over nothing; give back what was not handed over."""
        self._channel.is_open = False
        self._listener.pause()
        self._empty_inbox()

    def stop(self) -> None:
        """Send the last confirms, release what is left, and end."""
        self._thread.stop()
        if not self._listener.stop(FAREWELL, release=True):
            logger.warning("dtimer: the timer's Redis does not answer; what it was not told is redelivered")
        self._post_again()

    def _post_again(self) -> None:
        """Store what is delivered once, and was not started: its claim has taken it out of Redis."""
        while (entry := self._inbox.first()) is not None and self._inbox.take(entry):
            it = entry.delivery
            event = NewEvent(it.id, it.payload, "at", it.due_ms, it.max_redeliveries, it.queue)
            try:
                self._shards.post([event], conflict="keep")
            except (TimerUnavailableError, TimerFullError):
                logger.exception("dtimer: event %s, which is delivered once, was not started and is lost", it.id)

    def info(self) -> dict[str, Any]:
        """Return the listener's numbers."""
        return {
            "max_events": self._listener.max_events,
            "in_flight": self._listener.in_flight,
            "queues": list(self._queues()),
        }

    # --- called by the listener, in its thread

    def _queues(self) -> tuple[str, ...]:
        if self._channel.is_open:
            self._listener.max_events = self._capacity.max_events  # asked before each claim, as the queues are
        consumer = self._consumer.task_consumer
        return tuple(sorted(queue.name for queue in consumer.queues)) if consumer else ()

    def _room(self) -> Room:
        # Said before it is looked at: a slot that is freed in between is told of.
        self._full = True
        if not self._stuck and self._capacity.can_claim(self._inbox.expected()):
            self._full = False
            return Room(UNLIMITED)
        return Room(0 if self._stuck else max(0, self._capacity.share() - len(self._inbox)), patient=True)

    def _receive(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            try:
                stored = message.decode(delivery.payload, delivery.id, delivery.queue)
            except message.UnknownFormatError as exc:
                self._channel.park(delivery, exc)
            else:
                self._inbox.put(delivery, stored, self._capacity.expected(stored.headers.get("task")))
        if not self._channel.is_open:
            # Claimed while the step was stopping: pause() may have emptied the inbox already. Not for us to call,
            # in this thread: the step may be started again at this very moment, and would stay paused.
            self._empty_inbox()
        else:
            self._thread.wake()

    def _look_after_inbox(self) -> float | None:
        """Give back what can't be started here while others may have a slot; returns seconds until the next look."""
        waited = self._inbox.stuck_for()
        if not waited:
            return None
        first = self._inbox.first()
        stuck = self._capacity.can_start()
        patience = STUCK if stuck or (first is not None and self._may_queue(first)) else GIVE_BACK
        if waited < patience:
            return min(patience - waited, GIVE_BACK)  # the pool may fill up meanwhile
        self._stuck = stuck
        self._empty_inbox()
        self._thread.wake()
        return None

    # --- called by the thread that fires

    def _fire_next(self) -> bool:
        """Fire what is next, if the pool can start it soon; false if there is nothing to do now."""
        if self._stuck:
            self._stuck = False
            self._on_free()
        entry = self._inbox.first()
        if entry is None or not self._channel.is_open:
            return False  # what is delivered once stays in the inbox while the step is stopped
        # Said before it is looked at: a slot that is freed in between is told of.
        self._blocked = True
        if not self._capacity.can_start() and not (self._may_queue(entry) and pools.has_room(self._consumer.pool)):
            return False
        self._blocked = False
        if self._inbox.take(entry):  # else pause() was faster, or something shorter came
            self._channel.fire(entry.delivery, entry.message)
        return True

    def _may_queue(self, entry: Entry) -> bool:
        """Whether it may wait in a full pool: nobody else has taken it for long enough."""
        overdue = time.monotonic() - entry.delivery.due_monotonic
        return overdue >= PATIENCE_MS / 1000 and self._capacity.share() > 0

    # --- called in any thread

    def _on_free(self) -> None:
        """A task has ended: fire what waits for that, or claim."""
        if self._blocked:
            self._blocked = False
            self._thread.wake()
        if self._full:
            self._full = False
            self._listener.look()

    def _empty_inbox(self) -> None:
        for delivery in self._inbox.empty():
            self._channel.give_back(delivery)
