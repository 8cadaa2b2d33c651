"""What a listener does in one shard: claim there, renew there, and say there what was decided."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from celery_dtimer.timer.events import Delivery
from celery_dtimer.timer.scripts import Call
from celery_dtimer.timer.steady import SteadyClock
from celery_dtimer.timer.store import CLAIM, Store

logger = logging.getLogger(__name__)

#: Seconds between two claims of a listener that nobody wakes, unless set otherwise. A promise whose holder died is
#: noticed then, so that the next event is late by about as much.
POLL_INTERVAL = 1.0

#: Least and most of them.
MIN_POLL_INTERVAL, MAX_POLL_INTERVAL = 0.1, 60.0

#: So many of these a second are enough for a queue. Where more listeners poll it, each does so less often; since the
#: others may all be gone the next moment, after so many seconds at most.
POLLS, LONGEST_INTERVAL = 8, 4.0

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
class Verdict:
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


class ShardListener:
    """One shard, as its listener's loop sees it. For that loop's thread alone.

    Args:
        store: The shard.
        listener_id: Which listener it is, as the promise has it.
        name: What people see as the holder.
        confirm_timeout: Seconds after which a lease lapses.
        poll_interval: Seconds between two claims if nobody wakes it.
        queues: Returns the names of the queues to claim for.
        room: Returns how much may be claimed now.
        take: Called with what was claimed: each delivery and its monotonic due instant.
        listen: Called with the wake lists to block on from now on.
        settle: Called before the first claim, and after failures: raises if this is no shard to claim from.
        alive: Whether a delivery is still being worked on; None: see ``Listener``.

    Attributes:
        claiming: Whether it may claim; it claims once more when it may not any more, to pass the promises on.
        hungry: Whether the last claim left something, or there was none yet.
        held: The deliveries that were claimed here, by the monotonic instant at which their leases lapse.
        failures: So many rounds have failed, one after the other.
        failing_since: The monotonic instant at which the first of them did.
        quiet_until: The monotonic instant before which nothing is sent.
    """

    def __init__(
        self,
        store: Store,
        *,
        listener_id: str,
        name: str,
        confirm_timeout: float,
        poll_interval: float,
        queues: Callable[[], Sequence[str]],
        room: Callable[[], Room],
        take: Callable[[list[tuple[float, Delivery]]], None],
        listen: Callable[[Sequence[str]], None],
        settle: Callable[[], None],
        alive: Callable[[Delivery], bool] | None,
    ) -> None:
        self.store = store
        self.claiming = True
        self.hungry = True
        self.held: dict[Delivery, float] = {}
        self.failures = 0
        self.failing_since = 0.0
        self.quiet_until = 0.0
        self._listener_id = listener_id
        self._name = name
        self._confirm_timeout = confirm_timeout
        self._poll_interval = poll_interval
        self._queues = queues
        self._room = room
        self._take = take
        self._listen = listen
        self._settle = settle
        self._alive = alive
        self._owed: list[Verdict] = []
        self._clock = SteadyClock(confirm_timeout)
        self._claims = 0
        self._loaded = False
        self._woken = False  # a wake token was taken that is to be answered by a claim, if only to pass it on
        self._patience_paid = False  # a claim for what nobody else takes brought all that there was room for
        self._promised_at: float | None = None
        self._claim_at = 0.0
        self._interval = poll_interval
        self._renew_at = 0.0

    @property
    def settled(self) -> bool:
        """Whether Redis knows all that was decided, or can't be told."""
        return not self._owed or self.failures > 0

    def next_instant(self) -> float:
        """Return the monotonic instant of its next round, unless something happens before."""
        if self.quiet_until:
            return self.quiet_until
        instants = [self._claim_at]
        if self._promised_at is not None:
            instants.append(self._promised_at)
        if self.held:
            instants.append(self._renew_at)
        return min(instants)

    def decide(self, verdict: Verdict) -> None:
        """Owe a verdict to Redis, if its delivery is held; it is held no longer then."""
        delivery = verdict.delivery
        if verdict.action == "renewed":
            self.held[delivery] = time.monotonic() + self._confirm_timeout
        # Only what is held can be owed: a second verdict on a delivery is none.
        elif self.held.pop(delivery, None) is not None and verdict.action != "forget" and delivery.token:
            self._owed.append(verdict)

    def wake(self) -> None:
        """A wake token was taken here."""
        self.hungry = self._woken = True

    def release_all(self, reason: str) -> None:
        """Give back all that is held."""
        for delivery in list(self.held):
            self.decide(Verdict(delivery, "release", reason=reason))

    def failed(self) -> None:
        """Be quiet for a while, longer each time."""
        pause = min(RETRY_LAST, RETRY_FIRST * 2**self.failures)
        if not self.failures:
            self.failing_since = time.monotonic()
        self.failures += 1
        self._loaded = False
        self.hungry = True
        self.quiet_until = time.monotonic() + pause

    def recovered(self) -> None:
        """Go on as before the failure."""
        self.failures = 0
        self.quiet_until = 0.0

    def round(self) -> None:
        """One round trip: verdicts, renewals and a claim, as far as each is due."""
        now = time.monotonic()
        renewals = self._due_renewals(now)
        owed, verdict_calls = self._owed, self._verdict_calls()
        look = self._room()
        room, patient = look
        overdue = now >= self._claim_at or (self._promised_at is not None and now >= self._promised_at)
        # A listener that has just filled up may be woken once more, by the token that it pushed itself: its second
        # thread still blocks. It claims for nothing then, which wakes the next one; kept, the token would be lost.
        hungry = self.hungry and (room > 0 or not self.claiming) and (not patient or self._patience_paid)
        claims = overdue or self._woken or hungry
        # One without room finds nothing out for the others.
        is_poll = now >= self._claim_at and room > 0 and not (patient or self._woken or hungry)
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
                    listener=self._listener_id,
                    holder=self._name,
                    nonce=f"{self._listener_id}{self._claims:x}",
                    room=room,
                    lease_ms=round(self._confirm_timeout * 1000),
                    ahead_ms=-PATIENCE_MS if patient else AHEAD_MS,
                    lapsed_ms=self._clock.lapsed_ms(now),
                    is_poll=is_poll,
                )
            )
        if not self._loaded:
            self._settle()
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
            self.hungry = self.hungry and self.claiming and (room == 0 or patient)
            self._patience_paid = False
            if queues and not isinstance(replies[-1], Exception):
                filled = self._claimed(replies[-1], in_turn, now) >= min(room, CLAIM) > 0
                self._patience_paid = patient and filled
                self.hungry = self.hungry or filled
            self._claim_at = time.monotonic() + (PATIENCE_MS / 1000 if patient and room else self._interval)
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
        if claimed.polls:
            shared = min(LONGEST_INTERVAL, self._interval * claimed.polls / POLLS)
            self._interval = max(self._poll_interval, shared)
        deliveries = claimed.deliveries
        if claimed.wait is not None:
            self._promised_at = received + claimed.wait
        for event_id in claimed.parked:
            logger.warning(
                "event %s was redelivered too often and is parked", event_id, extra={"dtimer_event": event_id}
            )
        if not deliveries:
            return 0
        if not self.held:
            self._renew_at = now + self._confirm_timeout / RENEWALS
        lapse = now + self._confirm_timeout
        taken = []
        for delivery in deliveries:
            if delivery.token or self._alive:
                self.held[delivery] = lapse
            # Redis was asked before it answered: by its clock, this is never early. What was due once, and is not by a
            # clock that was set back since, is not held again.
            due = received + min(AHEAD_MS / 1000, max(0.0, delivery.due_ms / 1000 - claimed.now))
            taken.append((due, delivery))
        self._take(taken)
        return len(deliveries)

    def _due_renewals(self, now: float) -> list[tuple[Call, list[Delivery]]]:
        if now < self._renew_at or not self.held:
            return []
        self._renew_at = now + self._confirm_timeout / RENEWALS
        if self._alive is None:
            self.held = {d: lapse for d, lapse in self.held.items() if lapse > now}
            return []
        groups: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in self.held:
            if delivery.token and self._alive(delivery):
                groups[delivery.queue].append(delivery)
        lease_ms = round(self._confirm_timeout * 1000)
        return [(self.store.renew(queue, lease_ms, group), group) for queue, group in groups.items()]

    def _renewed(self, deliveries: Sequence[Delivery], reply: Iterable[int], now: float) -> None:
        for delivery, ours in zip(deliveries, reply, strict=True):
            if ours:
                self.held[delivery] = now + self._confirm_timeout
            elif self.held[delivery] > now:
                logger.warning(
                    "the lease of event %s was lost while its task runs",
                    delivery.id,
                    extra={"dtimer_event": delivery.id},
                )
                self.held[delivery] = now

    def _listen_on(self, queues: tuple[str, ...], room: Room | None) -> None:
        """Be woken exactly while there is room, and for the queues of the last claim."""
        events, patient = room or self._room()
        self._listen(tuple(self.store.keys.wake(queue) for queue in queues) if events and not patient else ())
