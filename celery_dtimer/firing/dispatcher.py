"""Hands claimed events to a worker as soon as its pool can start them; releases those that others may start sooner."""

import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from celery_dtimer.celery_patches import pools
from celery_dtimer.celery_patches.watching import Watch
from celery_dtimer.celery_patches.worker import in_pool
from celery_dtimer.errors import TimerFullError, TimerUnavailableError
from celery_dtimer.extension import Extension
from celery_dtimer.firing.capacity import UNKNOWN, UNLIMITED, Capacity
from celery_dtimer.firing.channel import Channel
from celery_dtimer.firing.earliness import Earliness, due_of, lead, wait_for
from celery_dtimer.firing.guarding import guarded
from celery_dtimer.firing.inbox import Entry, Inbox, Prepared
from celery_dtimer.firing.requests import Requests, is_ours
from celery_dtimer.firing.steered import Steered
from celery_dtimer.firing.threads import FAREWELL, HubThread, OwnThread
from celery_dtimer.message import decode
from celery_dtimer.timer.catching_up import own_limit
from celery_dtimer.timer.checks import kind_of
from celery_dtimer.timer.events import Delivery, NewEvent, Verdict
from celery_dtimer.timer.legible import legible
from celery_dtimer.timer.listening.config import ListenerConfig, Room
from celery_dtimer.timer.listening.listener import Listener
from celery_dtimer.timer.listening.shard_round import PATIENCE_MS

logger = logging.getLogger(__name__)

#: Seconds without the end of a task after which deliveries that wait for a slot are given back to other workers.
GIVE_BACK = 0.05

#: The same if there are slots, and the thread that fires does not use them.
STUCK = 1.0


class Dispatcher(Steered):
    """Fires the deliveries of one worker.

    Args:
        extension: The app's timer.
        consumer: The worker's ``celery.worker.consumer.Consumer``.
    """

    def __init__(self, extension: Extension, consumer: Any) -> None:
        settings = extension.settings
        self._consumer = consumer
        self._extra = {"dtimer_listener": consumer.hostname}
        self._shards = extension.shards
        self._counters = extension.counters
        self._inbox = Inbox()
        self._started = False
        self._paused = False
        self._blocked = False  # the pool can't start the next entry
        self._few = UNKNOWN  # before so few tasks are left in it
        self._full = False  # the listener was told that there is no room, and waits to hear of some
        self._mark = UNKNOWN  # and does not want to before so few tasks are left
        self._stuck = False  # the thread that fires did not run for too long: nothing is claimed until it does
        self._in_vain = False  # deliveries were given back, since no task ended: only slots count until one does
        self._earliness = Earliness(consumer)
        requests = Requests()
        self._capacity = Capacity(consumer, settings.max_events, is_ours)
        config = ListenerConfig(
            queues=self._queues,
            prepare=self._prepare,
            deliver=self._receive,
            lead=lead(consumer.pool),
            max_events=self._capacity.max_events,
            confirm_timeout=settings.confirm_timeout,
            poll_interval=settings.poll_interval,
            limit=own_limit(settings.catch_up_rate, settings.catch_up_after),
            alive=requests.is_alive,
            describe=guarded(_described, otherwise="what can't be decoded"),
            room=guarded(self._room, otherwise=Room(0)),
            look_after=guarded(self._look_after_inbox, otherwise=GIVE_BACK),
            on_error=partial(logger.debug, "dtimer: %r"),
            on_answers=guarded(self._answered, otherwise=None),
            on_parked=guarded(self._counters.parked, otherwise=None),
            parked_ttl=settings.parked_ttl,
            on_dropped=guarded(self._counters.dropped_from_parked, otherwise=None),
            name=consumer.hostname,
        )
        self._listener = Listener(self._shards, config)
        self._channel = Channel(consumer, self._listener, requests, self._counters, settings)
        fire_next = guarded(self._fire_next, otherwise=False)
        self._thread = (
            HubThread(self._inbox, fire_next) if consumer.hub else OwnThread(consumer.pool, self._inbox, fire_next)
        )
        pools.keep_running(consumer.pool)
        pools.stop_amid_a_task(consumer.pool)
        Watch(
            ours=guarded(is_ours, otherwise=False),
            due=guarded(due_of, otherwise=0.0),
            on_accepted=guarded(lambda request: self._on_accepted(requests, request), otherwise=None),
            on_cancelled=guarded(self._channel.on_cancelled, otherwise=None),
            on_ran=guarded(self._capacity.ran, otherwise=None),
            on_free=guarded(self._on_free, otherwise=None),
        ).watch(consumer.pool)

    # --- called in the handler of a signal, amid whatever the main thread does

    def pause(self) -> None:
        """Claim and hand over nothing; release the deliveries that were not handed over.

        This sets a flag and leaves a note, and the listener does the rest: a lock that the main thread holds now stays
        held while this waits.
        """
        self._channel.is_open = False
        self._listener.pause()

    # --- called by the step, in the worker's main thread

    def start(self) -> None:
        """Hand deliveries to the consumer as it is now, unless an operator has paused that."""
        if self._paused:
            logger.info("dtimer: still paused by an operator; it fires nothing", extra=self._extra)
            return
        self._channel.open()
        if self._started:
            self._listener.resume()
            self._thread.wake()
            logger.info("dtimer: firing again", extra=self._extra)
            return
        self._started = True
        self._thread.start()
        self._listener.start()
        logger.info("dtimer: firing up to %d events at a time", self._listener.max_events, extra=self._extra)

    def register(self, hub: Any) -> None:
        """Be called by the hub when there is something in the inbox."""
        self._thread.register(hub)

    def stop(self) -> None:
        """Send the last confirms, release the rest, and end."""
        self._thread.stop()
        self._empty_inbox()  # before the listener releases all that it holds, which counts
        if not self._listener.stop(FAREWELL, release=True):
            logger.warning(
                "dtimer: the timer's Redis does not answer; events whose confirm it did not get are redelivered",
                extra=self._extra,
            )
        self._post_again()

    def _post_again(self) -> None:
        """Store again the events that are delivered once, and were not started: their claims took them out of Redis."""
        for entry in self._inbox.waiting():
            if not self._inbox.take(entry):
                continue
            it = entry.delivery
            kind = kind_of(entry.message.headers.get("task"))
            event = NewEvent(it.id, it.payload, "at", it.due_ms, it.max_redeliveries, it.queue, kind)
            try:
                self._shards.of(event.id).post([event], conflict="keep")
            except (TimerUnavailableError, TimerFullError):
                logger.exception(
                    "dtimer: event %s, which is delivered once, was not started and is lost",
                    legible(it.id),
                    extra={"dtimer_event": it.id, "dtimer_queue": it.queue},
                )

    # --- called by the listener, in its thread

    def _queues(self) -> tuple[str, ...]:
        if self._channel.is_open:
            self._listener.max_events = self._capacity.most  # asked before each claim, as the queues are
        consumer = self._consumer.task_consumer
        return tuple(sorted(queue.name for queue in consumer.queues)) if consumer else ()

    def _room(self) -> Room:
        self._mark = mark = self._capacity.mark(self._listener.round_trip)
        # Set the flag first, so that a slot freed meanwhile wakes us.
        self._full = True
        if in_pool() + len(self._inbox) > mark and not self._stuck:
            return Room(0)  # there is work enough until the next claim
        if not self._stuck and self._capacity.can_claim(self._inbox.expected(), by_estimate=not self._in_vain):
            self._full = False
            return Room(UNLIMITED)
        return Room(0 if self._stuck else max(0, self._capacity.share() - len(self._inbox)), patient=True)

    def _prepare(self, delivery: Delivery, due: float) -> Prepared | None:
        """Read a delivery before it is due; None if it is not for this worker."""
        try:
            stored = self._channel.accept(delivery)
        except Exception as exc:  # noqa: BLE001 - an error of one delivery must not stop the others
            self._channel.failed(delivery, exc)
            return None
        if stored is None:
            return None
        return Prepared(delivery, stored, self._capacity.expected(stored.headers.get("task")), due)

    def _receive(self, claimed: list[Prepared]) -> None:
        for prepared in claimed:
            self._inbox.put(prepared)
        if self._channel.is_open:
            self._thread.wake()
        else:
            # Claimed while the step was stopping: the inbox may have been emptied already.
            self._empty_inbox()

    def _look_after_inbox(self) -> float | None:
        """Give back deliveries that can't start while others may have a slot; return seconds until the next look."""
        if not self._channel.is_open:
            self._empty_inbox()
            return None
        waited = self._inbox.stuck_for()
        if not waited:
            if self._stuck:
                self._thread.wake()
            return STUCK if self._stuck else None
        first = min(self._inbox.waiting(), default=None)
        stuck = self._capacity.can_start()
        patience = STUCK if stuck or (first is not None and self._may_queue(first)) else GIVE_BACK
        if waited < patience:
            return min(patience - waited, GIVE_BACK)  # the pool may fill up meanwhile
        # Claimed again at once, it would only be kept from others. The estimate that it was claimed by is known to be
        # wrong: the pool's tasks take longer than they took lately.
        self._stuck, self._in_vain = stuck, True
        self._empty_inbox()
        self._thread.wake()
        return None

    def _answered(self, verdicts: Sequence[Verdict], replies: Sequence[int]) -> None:
        for verdict, reply in zip(verdicts, replies, strict=True):
            if verdict.action == "end" and reply != 1:
                _warn_of_late_end(verdict.delivery, bool(reply))
        self._counters.answered(verdicts, replies)

    # --- called by the thread that fires

    def _fire_next(self) -> bool:
        """Fire the next entry, if the pool can start it soon; false if there is nothing to do now."""
        if self._stuck:
            self._stuck = False
            self._on_free()
        entry = self._inbox.first()
        if entry is None or not self._channel.is_open:
            return False  # events that are delivered once stay in the inbox while the step is stopped
        # Set the flag first, so that a slot freed meanwhile wakes us.
        self._few, self._blocked = UNKNOWN, True
        if not self._capacity.starts(entry.prepared.expected) and not (
            self._may_queue(entry) and pools.has_room(self._consumer.pool)
        ):
            self._few = self._capacity.few()
            return False
        self._blocked = False
        if self._earliness.must_wait(entry.prepared):
            wait_for(entry.prepared)
        elif self._inbox.take(entry):  # else pause() was faster, or something shorter came
            self._channel.fire(entry.prepared)
        return True

    def _may_queue(self, entry: Entry) -> bool:
        """Whether it may wait in a full pool: it is overdue, so that no other worker has room."""
        overdue = time.monotonic() - entry.delivery.due_monotonic
        return overdue >= PATIENCE_MS / 1000 and self._capacity.share() > 0

    # --- called in any thread

    def _on_accepted(self, requests: Requests, request: Any) -> None:
        requests.started(request)
        self._capacity.started()

    def _on_free(self) -> None:
        """A task has ended: fire the next entry, or claim."""
        if self._blocked and in_pool() <= self._few:
            self._blocked = False
            self._thread.wake()
        self._in_vain = False
        if self._full and in_pool() + len(self._inbox) <= self._mark:
            self._full = False
            self._listener.look()

    def _empty_inbox(self) -> None:
        for delivery in self._inbox.empty():
            self._channel.give_back(delivery)


def _described(delivery: Delivery) -> str:
    """Return a task as Celery's own log has it; whatever is in its name, on one line."""
    stored = decode(delivery.payload, delivery.id, delivery.queue)
    return ascii(f"{stored.headers.get('task')}[{delivery.id}]")[1:-1]


def _warn_of_late_end(delivery: Delivery, ended: bool) -> None:
    """Log that a task ended well too late; ``ended`` if its event was ended all the same."""
    logger.warning(
        "dtimer: task %s ended well, but its lease had lapsed, and another worker had claimed its event%s. If the "
        "task keeps its worker from renewing leases for longer than dtimer_confirm_timeout, raise that, or run the "
        "task in a prefork worker",
        legible(delivery.id),
        ": it is confirmed, and not delivered again" if ended else "",
        extra={"dtimer_event": delivery.id, "dtimer_queue": delivery.queue},
    )
