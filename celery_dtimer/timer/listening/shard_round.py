"""A listener's work in one shard: claims, renewals and verdicts, in one round trip."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from redis.exceptions import ResponseError

from celery_dtimer.timer.connecting.steps import run
from celery_dtimer.timer.events import Damaged, Delivery
from celery_dtimer.timer.legible import legible
from celery_dtimer.timer.listening.config import ListenerConfig, Room
from celery_dtimer.timer.listening.leases import LINGER, Leases
from celery_dtimer.timer.listening.old_parked import OldParked
from celery_dtimer.timer.listening.server_clock import ServerClock, Zero
from celery_dtimer.timer.listening.sharers import Sharers
from celery_dtimer.timer.storing.calls import MOST_QUEUES
from celery_dtimer.timer.storing.claims import CLAIM
from celery_dtimer.timer.storing.scripts import Call
from celery_dtimer.timer.storing.shard import Store

logger = logging.getLogger(__name__)

#: Polls a second that are enough for a queue: more listeners poll less often. And the longest time between two polls of
#: a listener, in seconds, since all others may die.
POLLS, LONGEST_INTERVAL = 8, 4.0

#: Milliseconds that events are claimed before they are due. They are held here until then: a round trip to Redis
#: takes about a millisecond when nothing is warm, and would be the larger part of an event's lateness.
AHEAD_MS = 10

#: Milliseconds after which a full worker takes an event that no other worker took.
PATIENCE_MS = 200

#: A listener that leaves events to others lets them have what was given back first, for a poll interval and these
#: seconds: it has promised to wake for what it left, so that the others come only when they poll.
SHYNESS = 0.2

#: Share of the last round trip in the estimate of the next, and the longest that counts, in seconds.
WEIGHT, MOST_ROUND_TRIP = 0.2, 0.25

#: Seconds between two attempts while Redis does not answer: doubled from the first to the last.
RETRY_FIRST, RETRY_LAST = 0.05, 1.0


class ShardListener:
    """One shard, as its listener's loop sees it. For that loop's thread alone.

    Args:
        store: The shard.
        config: See ListenerConfig.
        room: Returns the room for a claim now.
        take: Called with the claimed deliveries, each with its monotonic due instant.
        meanwhile: Called while Redis works on a round's calls, if there is such a moment.
        listen: Called with the wake lists to block on from now on.
        sharers: The shards that share the rate of a catch-up limit.

    Attributes:
        claiming: Whether it may claim; it claims once more when it may not any more, to pass the promises on.
        hungry: Whether the last claim left something, or there was none yet.
        leases: The deliveries that were claimed here, and are still held.
        failures: Number of rounds that have failed, one after the other.
        failing_since: The monotonic instant at which the first of them did.
        quiet_until: The monotonic instant before which nothing is sent.
        round_trip: Seconds that a round trip takes lately.
    """

    def __init__(
        self,
        store: Store,
        config: ListenerConfig,
        *,
        room: Callable[[], Room],
        take: Callable[[list[tuple[float, Delivery]]], None],
        meanwhile: Callable[[], None],
        listen: Callable[[Sequence[str]], None],
        sharers: Sharers,
    ) -> None:
        self.store = store
        self.claiming = True
        self.hungry = True
        self.leases = Leases(store, config)
        self.failures = 0
        self.failing_since = 0.0
        self.quiet_until = 0.0
        self.round_trip = 0.0
        self._config = config
        self._room = room
        self._take = take
        self._meanwhile = meanwhile
        self._listen = listen
        self._old_parked = OldParked(store, config)
        self._sharers = sharers
        self._clock = ServerClock(config.confirm_timeout)
        self._zero = Zero()
        self._claims = 0
        self._loaded = False
        self._faulty = False
        self._woken = False  # a wake token was taken that is to be answered by a claim, if only to pass it on
        self._patience_paid = False  # a claim for overdue events filled all the room
        self._promised_at: float | None = None
        self._claim_at = 0.0
        self._interval = config.poll_interval
        self._busy = 0.0  # seconds that `meanwhile` took
        self._answered_at = 0.0  # when Redis did, at the earliest

    @property
    def owes_nothing(self) -> bool:
        """Whether Redis knows all that was decided, or does not answer."""
        return not self.leases.owed or self.failures > 0

    def next_instant(self) -> float:
        """Return the monotonic instant of its next round, unless something happens before."""
        if self.quiet_until:
            return self.quiet_until
        instants = [self._claim_at]
        if self._promised_at is not None:
            instants.append(self._promised_at)
        if self.leases.held:
            instants.append(self.leases.renew_at)
        if self.leases.owed:
            instants.append(self.leases.confirm_at)
        return min(instants)

    def wake(self) -> None:
        """A wake token was taken here."""
        self.hungry = self._woken = True

    def failed(self) -> None:
        """Be quiet for a while, longer each time."""
        pause = min(RETRY_LAST, RETRY_FIRST * 2**self.failures)
        if not self.failures:
            self.failing_since = time.monotonic()
        self.failures += 1
        self._zero.forget()
        self._busy = 0.0
        self._loaded = False
        self.hungry = True
        self.quiet_until = time.monotonic() + pause

    def recovered(self) -> None:
        """Go on as before the failure."""
        self.failures = 0
        self.quiet_until = 0.0

    @property
    def clock_ahead(self) -> float | None:
        """Seconds that the server's clock is ahead of our monotonic one; None before anything was heard."""
        return self._clock.ahead

    def round(self) -> None:
        """One round trip: verdicts, renewals and a claim, as far as each is due."""
        now = time.monotonic()
        leases = self.leases
        renewals = leases.due_renewals(now)
        look = self._room()
        room, patient = look
        overdue = now >= self._claim_at or (self._promised_at is not None and now >= self._promised_at)
        # A listener that has just filled up may be woken once more, by the token that it pushed itself: its second
        # thread still blocks. It claims for nothing then, which wakes the next one; kept, the token would be lost.
        hungry = self.hungry and (room > 0 or not self.claiming) and (not patient or self._patience_paid)
        claims = overdue or self._woken or hungry
        # One without room finds nothing out for the others.
        is_poll = now >= self._claim_at and room > 0 and not (patient or self._woken or hungry)
        old = self._old_parked.calls(now, claims=claims)
        groups = leases.portions(now, at_once=claims or bool(renewals or old) or not self.claiming)
        verdict_calls = [self.store.verdicts(queue, verdicts) for queue, verdicts in groups]
        calls = [*verdict_calls, *(call for call, _ in renewals), *old]
        queues = tuple(self._config.queues())
        if claims and queues:
            self._claims += 1
            # Each queue is the first in its turn: a flood in one leaves room for the others.
            first = self._claims % len(queues)
            shyness = min(self._interval, LONGEST_INTERVAL) + SHYNESS if now < leases.shy_until else 0.0
            in_turn = (queues[first:] + queues[:first])[:MOST_QUEUES]
            calls.append(
                self.store.claim(
                    in_turn,
                    listener=self._config.id,
                    holder=self._config.name,
                    nonce=f"{self._config.id}{self._claims:x}",
                    room=room,
                    lease_ms=round(self._config.confirm_timeout * 1000),
                    ahead_ms=-PATIENCE_MS if patient else AHEAD_MS,
                    lapsed_ms=self._clock.lapsed_ms(now, shyness),
                    shy_ms=round(shyness * 1000),
                    is_poll=is_poll,
                    limit=self._config.limit,
                    sharers=self._sharers.count(self.store.keys.shard, now),
                )
            )
        if not self._loaded:
            self.store.load_scripts()
            self._loaded = True
        replies = run(self.store.run_all_steps(calls, meanwhile=self._while_redis_works)) if calls else []
        self._took(calls, now)
        failures = [reply for reply in replies if isinstance(reply, Exception)]
        if not failures:
            leases.answered(sum(len(verdicts) for _, verdicts in groups))
        lost = leases.confirmed_in_vain(groups, replies)
        for (_, deliveries), reply in zip(renewals, replies[len(verdict_calls) :], strict=False):
            if not isinstance(reply, Exception):
                lost += leases.renewed(deliveries, reply, now)
        if lost:
            leases.say_lost(lost)
        others = len(verdict_calls) + len(renewals)
        self._old_parked.answered(replies[others : others + len(old)], now)
        if claims:
            self._promised_at = None
            self._woken = False
            self.hungry = self.hungry and self.claiming and (room == 0 or patient)
            self._patience_paid = False
            if queues and not isinstance(replies[-1], Exception):
                filled = self._claimed(calls[-1], replies[-1], in_turn, now) >= min(room, CLAIM) > 0
                self._patience_paid = patient and filled
                self.hungry = self.hungry or filled
            self._claim_at = time.monotonic() + (PATIENCE_MS / 1000 if patient and room else self._interval)
        self._listen_on(queues, None if claims else look)
        if failures:
            raise self.store.explained(calls[replies.index(failures[0])], failures[0])

    def _while_redis_works(self) -> None:
        begun = time.monotonic()
        self._meanwhile()
        self._busy = time.monotonic() - begun

    def _took(self, calls: Sequence[Call], asked: float) -> None:
        """Note how long a round trip took, if there was one, without what was done meanwhile."""
        if calls:
            received = time.monotonic()
            self._answered_at = received - self._busy
            self._busy = 0.0
            latest = min(self._answered_at - asked, MOST_ROUND_TRIP)
            self.round_trip += (WEIGHT if self.round_trip else 1.0) * (latest - self.round_trip)
            # A claim would wait for a round trip with nothing but confirms: half of the time there is none.
            self.leases.confirm_at = received + max(LINGER, self.round_trip)
        self._meanwhile()  # unless it was done

    def _claimed(self, call: Call, reply: object, queues: Sequence[str], now: float) -> int:
        received = time.monotonic()
        server = self.store.now_of(reply)
        self._clock.heard(server, now, received)
        zero = self._zero.heard(server, now, received)
        claimed = self.store.read_claim(reply, queues, zero)
        self._sharers.heard(self.store.keys.shard, received, shares=claimed.shares)
        if claimed.polls:
            shared = min(LONGEST_INTERVAL, self._interval * claimed.polls / POLLS)
            self._interval = max(self._config.poll_interval, shared)
        deliveries = claimed.deliveries
        if claimed.wait is not None:
            # Not from when it was read on: what was done meanwhile may have taken long.
            self._promised_at = self._answered_at + claimed.wait
        self._report(claimed.damaged, [str(self.store.explained(call, ResponseError(e))) for e in claimed.errors])
        for delivery in claimed.unreadable:
            self.leases.put_aside(delivery)
            self._report([Damaged(delivery.id, self.store.keys.events, b"", delivery.payload)], ())
        for event_id in claimed.parked:
            logger.warning(
                "dtimer: event %s was redelivered too often; it is parked",
                legible(event_id),
                extra={"dtimer_event": event_id},
            )
        if claimed.parked:
            self._config.on_parked(claimed.parked, queues)
        if not deliveries:
            return 0
        self.leases.take(deliveries, now)
        taken = []
        for delivery in deliveries:
            # What was due once, and is not by a clock that was set back since, is not held again.
            left = max(0.0, zero + delivery.ready_ms / 1000 - received)
            taken.append((received + min(AHEAD_MS / 1000, left), delivery))
        self._take(taken)
        return len(deliveries)

    def _report(self, damaged: Iterable[Damaged], errors: Sequence[str]) -> None:
        """Log records that were put aside, and errors of a queue: once, until nothing fails any more."""
        for record in damaged:
            logger.error(
                "dtimer: the record of event %s in %s can't be read; it is put aside, and damaged() lists it",
                legible(record.id),
                legible(record.key),
                extra={"dtimer_event": record.id},
            )
        if errors and not self._faulty:
            logger.error(
                "dtimer: listener %s can't claim all that is due (%s); the rest is claimed",
                self._config.name,
                legible(errors[0]),
                extra={"dtimer_listener": self._config.name},
            )
            self._config.on_error(ResponseError(errors[0]))
        self._faulty = bool(errors)

    def _listen_on(self, queues: tuple[str, ...], room: Room | None) -> None:
        """Be woken exactly while there is room, and for the queues of the last claim."""
        events, patient = room or self._room()
        self._listen(tuple(self.store.keys.wake(queue) for queue in queues) if events and not patient else ())
