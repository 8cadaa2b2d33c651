"""The loop of a listener: claim what comes due, renew what is alive, send what was decided.

One thread owns all state and is the only one that sends scripts. Everybody else (handlers, the threads
of a pool, weak references that die) puts a note into its mailbox, a ``SimpleQueue``, whose ``put`` is
safe even from within garbage collection. The waker blocks on the wake lists, and does nothing but
put a note when Redis hands it a token. The loop sleeps on its own clock until the instant it has
promised to wake at: a blocked Redis client would be woken up to 100 ms late.
"""

import heapq
import logging
import os
import socket
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import NamedTuple

from redis.exceptions import NoPermissionError, RedisError

from celery_dtimer.timer.events import Delivery
from celery_dtimer.timer.scripts import Call
from celery_dtimer.timer.steady import SteadyClock
from celery_dtimer.timer.store import Store
from celery_dtimer.timer.waker import Waker

logger = logging.getLogger(__name__)

#: Seconds between two claims of a listener that nobody wakes. A promise whose holder died is noticed then, so that the
#: next event is late by about as much.
PATROL = 1.0

#: So many of these a second are enough for a queue. Where more listeners patrol it, each does so less often; since the
#: others may all be gone the next moment, after so many seconds at most.
PATROLS, LONGEST_PATROL = 8, 4.0

#: Milliseconds that events are claimed before they are due. They are held here until then: a round trip to Redis
#: takes about a millisecond when nothing is warm, and would be the larger part of an event's lateness.
AHEAD_MS = 10

#: A full worker takes what nobody else took for so many milliseconds, and only that.
PATIENCE_MS = 200

#: A lease is renewed so often before it would lapse: all but one of the attempts may fail.
RENEWALS = 3

#: Seconds between two attempts while Redis does not answer: doubled from the first to the last.
RETRY_FIRST, RETRY_LAST = 0.05, 1.0


@dataclass(frozen=True)
class _Verdict:
    """What was decided about a delivery: a call that is owed to Redis."""

    delivery: Delivery
    action: str  # confirm, release, park, forget, renewed
    backoff_ms: int = 0
    counted: bool = True
    reason: str = ""

    @property
    def group(self) -> tuple[str, str, int, bool, str]:
        """What verdicts have in common that can share one script call."""
        return self.delivery.queue, self.action, self.backoff_ms, self.counted, self.reason


class Room(NamedTuple):
    """What can be started soon.

    Attributes:
        events: At most so many more.
        patient: Only what has been due for PATIENCE_MS: there is no room, but nobody else has any either.
    """

    events: int
    patient: bool = False


class Listener:
    """Claims events of some queues and hands them to ``deliver``.

    Args:
        store: Where the events are.
        queues: Returns the names of the queues to claim for; asked before every claim.
        deliver: Called with each batch of deliveries, in the listener's thread.
        max_events: At most so many deliveries are held at a time.
        confirm_timeout: Seconds after which a lease lapses.
        alive: Whether a delivery is still being worked on. Leases of those that are get renewed, others are
            released. None: nothing is renewed, and a lease that lapsed counts as ended.
        room: How much can be started soon, asked before every claim; when that grows, call ``look``. None: as much as
            ``max_events`` allows.
        look_after: Called now and then while deliveries are held; returns in how many seconds it wants to be called
            again, or None if not before the next delivery.
        on_error: Called with what ``deliver`` raised, and once with the first error of a row from Redis.
        name: What people see as the holder; by default pid@host.
    """

    def __init__(
        self,
        store: Store,
        *,
        queues: Callable[[], Sequence[str]],
        deliver: Callable[[list[Delivery]], None],
        max_events: int,
        confirm_timeout: float,
        alive: Callable[[Delivery], bool] | None = None,
        room: Callable[[], Room] | None = None,
        look_after: Callable[[], float | None] | None = None,
        on_error: Callable[[Exception], None],
        name: str | None = None,
    ) -> None:
        self.store = store
        self.max_events = max_events
        self.confirm_timeout = confirm_timeout
        self.name = name or f"{os.getpid()}@{socket.gethostname()}"
        self.id = uuid.uuid4().hex[:16]
        self._queues = queues
        self._deliver = deliver
        self._alive = alive
        self._startable = room
        self._look_after = look_after
        self._on_error = on_error

        self._mailbox: SimpleQueue[_Verdict | NoPermissionError | str] = SimpleQueue()
        self._waker = Waker(store.client, self.wake, self._mailbox.put)
        self._thread = threading.Thread(target=self._run, name="dtimer-listener", daemon=True)

        # Owned by the loop's thread from here on.
        self._claiming = True
        self._stopping = False
        self._owed: list[_Verdict] = []
        self._clock = SteadyClock(confirm_timeout)
        self._held: dict[Delivery, float] = {}  # delivery -> monotonic instant of its lapse
        self._soon: list[tuple[float, int, Delivery]] = []  # heap of what was claimed ahead, by monotonic due
        self._claims = 0
        self._loaded = False
        self._hungry = True  # the last claim left something, or there was none yet
        self._woken = False  # a wake token was taken that is to be answered by a claim, if only to pass it on
        self._patience_paid = False  # a claim for what nobody else takes brought all that there was room for
        self._promised_at: float | None = None
        self._claim_at = 0.0
        self._patrol = PATROL
        self._renew_at = 0.0
        self._look_at: float | None = None
        self._failures = 0
        self._quiet_until = 0.0

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
        self._mailbox.put(_Verdict(delivery, "confirm"))

    def release(
        self, delivery: Delivery, *, backoff_ms: int = 0, counted: bool = True, reason: str = "released"
    ) -> None:
        """Give the event back; ``counted`` unless its task had not started."""
        self._mailbox.put(_Verdict(delivery, "release", backoff_ms, counted, reason))

    def park(self, delivery: Delivery, reason: str) -> None:
        """Keep the event aside."""
        self._mailbox.put(_Verdict(delivery, "park", reason=reason))

    def forget(self, delivery: Delivery) -> None:
        """Hold it no longer: somebody else has told Redis."""
        self._mailbox.put(_Verdict(delivery, "forget"))

    def renewed(self, delivery: Delivery) -> None:
        """Hold it for another ``confirm_timeout``: somebody else has told Redis."""
        self._mailbox.put(_Verdict(delivery, "renewed"))

    @property
    def in_flight(self) -> int:
        """How many deliveries are held at the moment."""
        return len(self._held)

    # --- the loop

    def _run(self) -> None:
        while True:
            try:
                self._collect()
                self._deliver_due()
                self._look_after_deliveries()
                if time.monotonic() < self._quiet_until and not self._stopping:
                    continue
                self._round()
            except RedisError as exc:
                self._failed(exc)
            except OSError as exc:
                self._failed(exc)
            except Exception as exc:
                # A defect of ours: the loop goes on, and the operator hears of it.
                logger.exception("the timer's listener failed", extra={"dtimer_listener": self.name})
                self._failed(exc)
            else:
                self._recovered()
            if self._stopping and not self._soon and (not self._owed or self._failures):
                return

    def _collect(self) -> None:
        """Sleep until there is something to do, then take all notes from the mailbox."""
        now = time.monotonic()
        timeout = self._next_instant() - now
        try:
            note = self._mailbox.get(timeout=timeout) if timeout > 0 else self._mailbox.get_nowait()
            while True:
                self._note(note)
                note = self._mailbox.get_nowait()
        except Empty:
            return

    def _next_instant(self) -> float:
        instants = [self._quiet_until or self._claim_at]
        if self._soon:
            instants.append(self._soon[0][0])
        if self._look_at is not None:
            instants.append(self._look_at)
        if self._quiet_until:
            return min(instants)
        if self._promised_at is not None:
            instants.append(self._promised_at)
        if self._held:
            instants.append(self._renew_at)
        return min(instants)

    def _note(self, note: "_Verdict | NoPermissionError | str") -> None:
        if isinstance(note, _Verdict):
            self._decided(note)
        elif isinstance(note, NoPermissionError):
            logger.error(
                "the timer's Redis lets nobody wake this listener (%s): events may be late by %g s",
                note,
                PATROL,
                extra={"dtimer_listener": self.name},
            )
            self._on_error(note)
        elif note == "wake":
            self._hungry = self._woken = True
        elif note == "release all":
            for delivery in list(self._held):
                self._note(_Verdict(delivery, "release", reason="its worker shut down"))
        elif note == "resume":
            self._claiming = self._hungry = True
        elif note == "look":
            pass  # the round that comes now looks
        else:
            for _, _, delivery in self._soon:
                self._note(_Verdict(delivery, "release", counted=False, reason="its listener stopped"))
            # What is delivered once is not in Redis any more: it is still handed over when it is due.
            self._soon = [entry for entry in self._soon if not entry[2].token]
            heapq.heapify(self._soon)
            self._claiming = False
            self._hungry = True  # one more claim, for nothing: it passes the promises on
            self._waker.listen(())
            self._stopping = self._stopping or note == "stop"

    def _decided(self, verdict: _Verdict) -> None:
        delivery = verdict.delivery
        if verdict.action == "renewed":
            self._held[delivery] = time.monotonic() + self.confirm_timeout
        # Only what is held can be owed: a second verdict on a delivery is none.
        elif self._held.pop(delivery, None) is not None and verdict.action != "forget" and delivery.token:
            self._owed.append(verdict)

    def _round(self) -> None:
        """One round trip: verdicts, renewals and a claim, as far as each is due."""
        now = time.monotonic()
        renewals = self._due_renewals(now)
        owed, verdict_calls = self._owed, self._verdict_calls()
        look = self._room()
        room, patient = look
        overdue = now >= self._claim_at or (self._promised_at is not None and now >= self._promised_at)
        # A listener that has just filled up may be woken once more, by the token that it pushed itself: its second
        # thread still blocks. It claims for nothing then, which wakes the next one; kept, the token would be lost.
        hungry = self._hungry and (room > 0 or not self._claiming) and (not patient or self._patience_paid)
        claims = overdue or self._woken or hungry
        # One without room finds nothing out for the others.
        patrols = now >= self._claim_at and room > 0 and not (patient or self._woken or hungry)
        calls = [*verdict_calls, *(call for call, _ in renewals)]
        queues = tuple(self._queues())
        if claims and queues:
            self._claims += 1
            # Each queue is the first in its turn: a flood in one leaves room for the others.
            first = self._claims % len(queues)
            in_turn = queues[first:] + queues[:first]
            calls.append(
                self.store.claim(
                    in_turn,
                    listener=self.id,
                    holder=self.name,
                    nonce=f"{self.id}{self._claims:x}",
                    room=room,
                    lease_ms=round(self.confirm_timeout * 1000),
                    ahead_ms=-PATIENCE_MS if patient else AHEAD_MS,
                    lapsed_ms=self._clock.lapsed_ms(now),
                    patrols=patrols,
                )
            )
        if not self._loaded:
            self.store.load_scripts()
            self._loaded = True
        replies = self.store.run_all(calls) if calls else []
        failures = [reply for reply in replies if isinstance(reply, Exception)]
        if not failures:
            self._owed = self._owed[len(owed) :]
        for (_, deliveries), reply in zip(renewals, replies[len(verdict_calls) :], strict=False):
            if not isinstance(reply, Exception):
                self._renewed(deliveries, reply, now)
        if claims:
            self._promised_at = None
            self._woken = False
            self._hungry = self._hungry and self._claiming and (room == 0 or patient)
            self._patience_paid = False
            if queues and not isinstance(replies[-1], Exception):
                filled = self._claimed(replies[-1], in_turn, now) >= room > 0
                self._patience_paid = patient and filled
                self._hungry = self._hungry or filled
            self._claim_at = time.monotonic() + (PATIENCE_MS / 1000 if patient and room else self._patrol)
        self._listen_on(queues, None if claims else look)
        if failures:
            raise failures[0]

    def _verdict_calls(self) -> list[Call]:
        groups: dict[tuple[str, str, int, bool, str], list[Delivery]] = defaultdict(list)
        for verdict in self._owed:
            groups[verdict.group].append(verdict.delivery)
        calls = []
        for (queue, action, backoff_ms, counted, reason), deliveries in groups.items():
            if action == "confirm":
                calls.append(self.store.confirm(queue, deliveries))
            elif action == "park":
                calls.append(self.store.park(queue, deliveries, reason))
            else:
                calls.append(
                    self.store.release(queue, deliveries, backoff_ms=backoff_ms, counted=counted, reason=reason)
                )
        return calls

    def _claimed(self, reply: object, queues: Sequence[str], now: float) -> int:
        received = time.monotonic()
        claimed = self.store.read_claim(reply, queues)
        self._clock.heard(claimed.now, now, received)
        if claimed.patrols:
            self._patrol = max(PATROL, min(LONGEST_PATROL, self._patrol * claimed.patrols / PATROLS))
        deliveries = claimed.deliveries
        if claimed.wait is not None:
            self._promised_at = received + claimed.wait
        for event_id in claimed.parked:
            logger.warning(
                "event %s was redelivered too often and is parked", event_id, extra={"dtimer_event": event_id}
            )
        if not deliveries:
            return 0
        if not self._held:
            self._renew_at = now + self.confirm_timeout / RENEWALS
        lapse = now + self.confirm_timeout
        for number, delivery in enumerate(deliveries):
            if delivery.token or self._alive:
                self._held[delivery] = lapse
            # Redis was asked before it answered: by its clock, this is never early. What was due once, and is not by a
            # clock that was set back since, is not held again.
            due = received + min(AHEAD_MS / 1000, max(0.0, delivery.due_ms / 1000 - claimed.now))
            heapq.heappush(self._soon, (due, self._claims * 1000 + number, delivery))
        self._deliver_due()
        return len(deliveries)

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

    def _due_renewals(self, now: float) -> list[tuple[Call, list[Delivery]]]:
        if now < self._renew_at or not self._held:
            return []
        self._renew_at = now + self.confirm_timeout / RENEWALS
        if self._alive is None:
            self._held = {d: lapse for d, lapse in self._held.items() if lapse > now}
            return []
        groups: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in list(self._held):
            if not self._alive(delivery):
                self._note(_Verdict(delivery, "release", reason="its request vanished"))
            elif delivery.token:
                groups[delivery.queue].append(delivery)
        lease_ms = round(self.confirm_timeout * 1000)
        return [(self.store.renew(queue, lease_ms, group), group) for queue, group in groups.items()]

    def _renewed(self, deliveries: Sequence[Delivery], reply: Iterable[int], now: float) -> None:
        for delivery, ours in zip(deliveries, reply, strict=True):
            if ours:
                self._held[delivery] = now + self.confirm_timeout
            elif self._held[delivery] > now:
                logger.warning(
                    "the lease of event %s was lost while its task runs",
                    delivery.id,
                    extra={"dtimer_event": delivery.id},
                )
                self._held[delivery] = now

    def _listen_on(self, queues: tuple[str, ...], room: Room | None) -> None:
        """Be woken exactly while there is room, and for the queues of the last claim."""
        events, patient = room or self._room()
        self._waker.listen([self.store.keys.wake(queue) for queue in queues] if events and not patient else ())

    def _room(self) -> Room:
        held = len(self._held)
        if not self._claiming or held >= self.max_events:
            return Room(0)
        count, patient = self._startable() if self._startable is not None else Room(self.max_events)
        return Room(min(self.max_events - held, count), patient)

    def _look_after_deliveries(self) -> None:
        if self._look_after is not None:
            seconds = self._look_after()
            self._look_at = None if seconds is None else time.monotonic() + seconds

    def _failed(self, exc: Exception) -> None:
        if not self._failures:
            logger.error(
                "the timer's Redis failed (%s): trying again until it answers",
                exc,
                extra={"dtimer_listener": self.name},
            )
            self._on_error(exc)
        pause = min(RETRY_LAST, RETRY_FIRST * 2**self._failures)
        self._failures += 1
        self._loaded = False
        self._hungry = True
        self._quiet_until = time.monotonic() + pause

    def _recovered(self) -> None:
        if self._failures:
            logger.info("the timer's Redis answers again", extra={"dtimer_listener": self.name})
        self._failures = 0
        self._quiet_until = 0.0
