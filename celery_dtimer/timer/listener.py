"""The loop of a listener: claim what comes due, renew what is alive, send what was decided.

One thread owns all state and is the only one that sends scripts. Everybody else (handlers, the threads
of a pool, weak references that die) puts a note into its mailbox, a ``SimpleQueue``, whose ``put`` is
safe even from within garbage collection. The waker blocks on the wake lists, and does nothing but
put a note when Redis hands it a token. The loop sleeps on its own clock until the instant it has
promised to wake at: a blocked Redis client would be woken up to 100 ms late. What it does in each
shard is in shard_listener.py.
"""

import heapq
import itertools
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue

from redis.exceptions import NoPermissionError, RedisError

from celery_dtimer.errors import DTimerError, SettingsError
from celery_dtimer.timer.cluster import TURNED_AWAY
from celery_dtimer.timer.connect import TIMEOUT
from celery_dtimer.timer.events import Delivery
from celery_dtimer.timer.shard_listener import POLL_INTERVAL, RETRY_FIRST, Room, ShardListener, Verdict
from celery_dtimer.timer.shards import Shards
from celery_dtimer.timer.waker import Waker

logger = logging.getLogger(__name__)


class Listener:
    """Claims events of some queues and hands them to ``deliver``.

    Args:
        shards: Where the events are.
        queues: Returns the names of the queues to claim for; asked before every claim.
        deliver: Called with each batch of deliveries, in the listener's thread.
        max_events: At most so many deliveries are held at a time.
        confirm_timeout: Seconds after which a lease lapses.
        poll_interval: Seconds between two claims if nobody wakes it.
        alive: Whether a delivery is still being worked on. Leases of those that are get renewed; others lapse, unless
            something is decided before. None: nothing is renewed, and a lease that lapsed counts as ended.
        room: How much can be started soon, asked before every claim; when that grows, call ``look``. None: as much as
            ``max_events`` allows.
        look_after: Called now and then while deliveries are held; returns in how many seconds it wants to be called
            again, or None if not before the next delivery.
        on_error: Called with what ``deliver`` raised, and once with the first error of a row from Redis.
        name: What people see as the holder; by default pid@host.
    """

    def __init__(
        self,
        shards: Shards,
        *,
        queues: Callable[[], Sequence[str]],
        deliver: Callable[[list[Delivery]], None],
        max_events: int,
        confirm_timeout: float,
        poll_interval: float = POLL_INTERVAL,
        alive: Callable[[Delivery], bool] | None = None,
        room: Callable[[], Room] | None = None,
        look_after: Callable[[], float | None] | None = None,
        on_error: Callable[[Exception], None],
        name: str | None = None,
    ) -> None:
        self.max_events = max_events
        self.name = name or f"{os.getpid()}@{socket.gethostname()}"
        self.id = uuid.uuid4().hex[:16]
        self._poll_interval = poll_interval
        self._deliver = deliver
        self._startable = room
        self._look_after = look_after
        self._on_error = on_error

        self._mailbox: SimpleQueue[Verdict | NoPermissionError | int | str] = SimpleQueue()
        self._waker = Waker([store.server for store in shards], self._mailbox.put, self._mailbox.put)
        self._thread = threading.Thread(target=self._run, name="dtimer-listener", daemon=True)

        # Owned by the loop's thread from here on.
        self._claiming = True
        self._stopping = False
        self._soon: list[tuple[float, int, Delivery]] = []  # heap of what was claimed ahead, by monotonic due
        self._taken = itertools.count()
        self._look_at: float | None = None
        self._failing: set[int] = set()
        self._misset = False  # the namespace has another number of shards, and that was said
        self._turn = 0
        self._shards = [
            ShardListener(
                store,
                listener_id=self.id,
                name=self.name,
                confirm_timeout=confirm_timeout,
                poll_interval=poll_interval,
                queues=queues,
                room=self._room,
                take=self._take,
                listen=partial(self._waker.listen, number),
                settle=shards.settle,
                alive=alive,
            )
            for number, store in enumerate(shards)
        ]

    # --- for any thread

    def start(self) -> None:
        """Start to listen."""
        # The loop's own thread last: its first delivery may stop both.
        self._waker.start()
        self._thread.start()

    def stop(self, timeout: float | None = None, *, release: bool = False) -> bool:
        """Send what is owed, pass the promises on and stop; returns whether that took less than ``timeout``.

        Args:
            timeout: Seconds; None: as long as Redis takes to answer once. A handler's own thread does not wait.
            release: Give back what is held still; else it stays leased.
        """
        # The waker first, or it would take the token that passes the promise on.
        self._waker.stop()
        if release:
            self._mailbox.put("release all")
        self._mailbox.put("stop")
        if self._thread is threading.current_thread():
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def pause(self) -> None:
        """Claim nothing from now on; go on renewing and confirming."""
        self._mailbox.put("pause")

    def resume(self) -> None:
        """Claim again."""
        self._mailbox.put("resume")

    def wake(self) -> None:
        """Look for events now."""
        self._mailbox.put("wake")

    def look(self) -> None:
        """There is more room than before: go on with what was left, or be woken again."""
        self._mailbox.put("look")

    def confirm(self, delivery: Delivery) -> None:
        """End the event. Sent with the next round trip, again and again until Redis has answered."""
        self._mailbox.put(Verdict(delivery, "confirm"))

    def release(
        self, delivery: Delivery, *, backoff_ms: int = 0, counted: bool = True, reason: str = "released"
    ) -> None:
        """Give the event back; ``counted`` unless its task had not started."""
        self._mailbox.put(Verdict(delivery, "release", backoff_ms, counted, reason))

    def park(self, delivery: Delivery, reason: str) -> None:
        """Keep the event aside."""
        self._mailbox.put(Verdict(delivery, "park", reason=reason))

    def forget(self, delivery: Delivery) -> None:
        """Hold it no longer: somebody else has told Redis."""
        self._mailbox.put(Verdict(delivery, "forget"))

    def renewed(self, delivery: Delivery) -> None:
        """Hold it for another ``confirm_timeout``: somebody else has told Redis."""
        self._mailbox.put(Verdict(delivery, "renewed"))

    @property
    def in_flight(self) -> int:
        """How many deliveries are held at the moment."""
        return sum(len(shard.held) for shard in self._shards)

    # --- the loop

    def _run(self) -> None:
        while True:
            try:
                self._collect()
                self._deliver_due()
                self._look_after_deliveries()
            except Exception:
                # A defect of ours: the loop goes on, and the operator hears of it.
                logger.exception("the timer's listener failed", extra={"dtimer_listener": self.name})
                time.sleep(RETRY_FIRST)
            # Each is the first in its turn: a flood in one leaves room for the others.
            self._turn += 1
            for i in range(len(self._shards)):
                self._round((i + self._turn) % len(self._shards))
            if self._stopping and not self._soon and all(shard.settled for shard in self._shards):
                self._pass_on_again()
                return

    def _pass_on_again(self) -> None:
        """Replace the token that the last claim may have left to the waker's connection.

        It is closed, but Redis may have heard that after the claim. By now it has heard.
        """
        for number, shard in enumerate(self._shards):
            if not shard.failures:
                shard.hungry = True
                self._round(number)

    def _round(self, number: int) -> None:
        shard = self._shards[number]
        if time.monotonic() < shard.quiet_until and not self._stopping:
            return
        try:
            shard.round()
        except (RedisError, OSError, DTimerError) as exc:
            self._failed(number, exc)
        except Exception as exc:
            logger.exception("the timer's listener failed", extra={"dtimer_listener": self.name})
            self._failed(number, exc)
        else:
            self._recovered(number)

    def _collect(self) -> None:
        """Sleep until there is something to do, then take all notes from the mailbox."""
        timeout = self._next_instant() - time.monotonic()
        try:
            note = self._mailbox.get(timeout=timeout) if timeout > 0 else self._mailbox.get_nowait()
            while True:
                self._note(note)
                note = self._mailbox.get_nowait()
        except Empty:
            return

    def _next_instant(self) -> float:
        instants = [shard.next_instant() for shard in self._shards]
        if self._soon:
            instants.append(self._soon[0][0])
        if self._look_at is not None:
            instants.append(self._look_at)
        return min(instants)

    def _note(self, note: "Verdict | NoPermissionError | int | str") -> None:
        if isinstance(note, Verdict):
            self._shards[note.delivery.shard].decide(note)
        elif isinstance(note, int):
            self._shards[note].wake()
        elif isinstance(note, str):
            self._obey(note)
        else:
            logger.error(
                "the timer's Redis lets nobody wake this listener (%s): events may be late by %g s",
                note,
                self._poll_interval,
                extra={"dtimer_listener": self.name},
            )
            self._on_error(note)

    def _obey(self, order: str) -> None:
        if order == "wake":
            for shard in self._shards:
                shard.wake()
        elif order == "release all":
            for shard in self._shards:
                shard.release_all("its worker shut down")
        elif order == "resume":
            self._claim(claiming=True)
        elif order in ("pause", "stop"):
            for _, _, delivery in self._soon:
                self._note(Verdict(delivery, "release", counted=False, reason="its listener stopped"))
            # What is delivered once is not in Redis any more: it is still handed over when it is due.
            self._soon = [entry for entry in self._soon if not entry[2].token]
            heapq.heapify(self._soon)
            # One more claim, for nothing: it passes the promises on.
            self._claim(claiming=False)
            self._stopping = self._stopping or order == "stop"
        # And "look": the rounds that come now look.

    def _claim(self, *, claiming: bool) -> None:
        self._claiming = claiming
        for number, shard in enumerate(self._shards):
            shard.claiming = claiming
            shard.hungry = True
            if not claiming:
                self._waker.listen(number, ())

    def _room(self) -> Room:
        held = self.in_flight
        if not self._claiming or held >= self.max_events:
            return Room(0)
        count, patient = self._startable() if self._startable is not None else Room(self.max_events)
        return Room(min(self.max_events - held, count), patient)

    def _take(self, claimed: list[tuple[float, Delivery]]) -> None:
        for due, delivery in claimed:
            heapq.heappush(self._soon, (due, next(self._taken), delivery))
        self._deliver_due()

    def _deliver_due(self) -> None:
        """Hand over what was claimed and is due by now, all at once."""
        deliveries = []
        now = time.monotonic()
        while self._soon and self._soon[0][0] <= now:
            deliveries.append(heapq.heappop(self._soon)[2])
        if not deliveries:
            return
        try:
            self._deliver(deliveries)
        except Exception as exc:  # noqa: BLE001 - whatever it raises is the error handler's
            for delivery in deliveries:
                self.release(delivery, reason=f"the handler failed: {exc!r}")
            self._on_error(exc)

    def _look_after_deliveries(self) -> None:
        if self._look_after is not None:
            seconds = self._look_after()
            self._look_at = None if seconds is None else time.monotonic() + seconds

    def _failed(self, number: int, exc: Exception) -> None:
        shard = self._shards[number]
        shard.failed()
        # A slot that moves is no failure, for as long as a post would wait for it.
        if isinstance(exc, TURNED_AWAY) and time.monotonic() < shard.failing_since + TIMEOUT:
            return
        if isinstance(exc, SettingsError):
            # Amid an outage too: it ends, and still nothing is claimed.
            if not self._misset:
                self._misset = True
                logger.error("the timer's listener claims nothing: %s", exc, extra={"dtimer_listener": self.name})
                self._on_error(exc)
        elif not self._failing:
            logger.error(
                "the timer's Redis failed (%s): trying again until it answers",
                exc,
                extra={"dtimer_listener": self.name},
            )
            self._on_error(exc)
        self._failing.add(number)

    def _recovered(self, number: int) -> None:
        shard = self._shards[number]
        if not shard.failures:
            return
        shard.recovered()
        self._waker.reconnect(number)
        if number in self._failing:
            self._failing.discard(number)
            if not self._failing:
                logger.info("the timer's Redis answers again", extra={"dtimer_listener": self.name})
