"""A listener's leases in one shard, which it renews, and the verdicts that Redis has not answered yet."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence

from celery_dtimer.timer.events import Delivery, Verdict
from celery_dtimer.timer.listening.config import ListenerConfig
from celery_dtimer.timer.storing.claims import BATCH
from celery_dtimer.timer.storing.scripts import Call
from celery_dtimer.timer.storing.shard import Store

logger = logging.getLogger(__name__)

#: Seconds after the end of a delivery's waiting time for which its listener is shy.
STAYS_SHY = 5.0

#: Renewals within the length of a lease: all but one of them may fail.
RENEWALS = 3

#: The verdicts that nobody waits for.
CONFIRMS = ("confirm", "end")

#: Seconds between two round trips for nothing but confirms: the first of many goes at once, the others together.
LINGER = 0.005

#: Most lost leases that one log line names.
MOST_NAMED = 20


class Leases:
    """The leases of one listener in one shard, see ListenerConfig. For the loop's thread alone.

    Attributes:
        held: The deliveries that were claimed here, by the monotonic instant at which their leases lapse.
        owed: Verdicts that Redis has not answered.
        urgent: Whether some of these may not wait for others: all but confirms.
        confirm_at: The monotonic instant until which confirms wait for others.
        renew_at: The monotonic instant of the next renewals.
        shy_until: The monotonic instant until which released events are for others first.
    """

    def __init__(self, store: Store, config: ListenerConfig) -> None:
        self.held: dict[Delivery, float] = {}
        self.owed: list[Verdict] = []
        self.urgent = False
        self.confirm_at = 0.0
        self.renew_at = 0.0
        self.shy_until = 0.0
        self._store = store
        self._config = config
        self._confirm_timeout = config.confirm_timeout
        self._late: set[Delivery] = set()  # their leases had lapsed by our clock when they were decided

    def take(self, deliveries: Sequence[Delivery], now: float) -> None:
        """Hold the deliveries of a claim that was sent at ``now``."""
        if not self.held:
            self.renew_at = now + self._confirm_timeout / RENEWALS
        lapse, alive = now + self._confirm_timeout, self._config.alive
        self.held.update({delivery: lapse for delivery in deliveries if delivery.token or alive})

    def put_aside(self, delivery: Delivery) -> None:
        """Hold a delivery whose id can't be read, and owe Redis its end."""
        self.held[delivery] = 0.0
        self.decide(Verdict(delivery, "put_aside"))

    def decide(self, verdict: Verdict) -> None:
        """Owe a verdict to Redis, if its delivery is held, and hold the delivery no longer."""
        delivery = verdict.delivery
        if verdict.action == "renewed":
            # A delivery that was confirmed meanwhile would take room for ever.
            if delivery in self.held:
                self.held[delivery] = time.monotonic() + self._confirm_timeout
        # Only held deliveries count: a second verdict on one is ignored.
        elif (lapse := self.held.pop(delivery, None)) is not None and verdict.action != "forget" and delivery.token:
            self.owed.append(verdict)
            self.urgent = self.urgent or verdict.action not in CONFIRMS
            if verdict.action == "leave":
                again = time.monotonic() + verdict.delay_ms / 1000
                self.shy_until = max(self.shy_until, again + STAYS_SHY)
            if 0 < lapse < time.monotonic():
                self._late.add(delivery)

    def has_lapsed(self, delivery: Delivery) -> bool:
        """Whether the lease of a delivery is over by our clock: another listener may have it by now."""
        return bool(delivery.token) and self.held.get(delivery, 0.0) <= time.monotonic()

    def release_all(self, reason: str) -> None:
        """Give back all that is held."""
        for delivery in list(self.held):
            self.decide(Verdict(delivery, "release", reason=reason))

    def due_renewals(self, now: float) -> list[tuple[Call, list[Delivery]]]:
        """Return the calls that renew living deliveries, each with its deliveries, if it is time for them."""
        if now < self.renew_at or not self.held:
            return []
        self.renew_at = now + self._confirm_timeout / RENEWALS
        if self._config.alive is None:
            self.held = {d: lapse for d, lapse in self.held.items() if lapse > now}
            return []
        groups: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in self.held:
            if delivery.token and self._config.alive(delivery):
                groups[delivery.queue].append(delivery)
        lease_ms = round(self._confirm_timeout * 1000)
        renewals = []
        for queue, group in groups.items():
            for start in range(0, len(group), BATCH):
                part = group[start : start + BATCH]
                renewals.append((self._store.renew(queue, lease_ms, part), part))
        return renewals

    def renewed(self, deliveries: Sequence[Delivery], reply: Iterable[int], now: float) -> list[Delivery]:
        """Take the reply to a renewal; returns the lost deliveries."""
        lost = []
        for delivery, ours in zip(deliveries, reply, strict=True):
            if ours:
                self.held[delivery] = now + self._confirm_timeout
            elif self.held[delivery]:
                lost.append(delivery)
                self.held[delivery] = 0.0  # said once
        return lost

    def portions(self, now: float, *, at_once: bool) -> list[tuple[str, list[Verdict]]]:
        """The owed verdicts, by queue, in portions for one call each; none if all may wait."""
        if not (at_once or self.urgent or now >= self.confirm_at):
            return []
        groups: dict[str, list[Verdict]] = defaultdict(list)
        for verdict in self.owed:
            groups[verdict.delivery.queue].append(verdict)
        return [
            (queue, group[start : start + BATCH])
            for queue, group in groups.items()
            for start in range(0, len(group), BATCH)
        ]

    def answered(self, count: int) -> None:
        """Owe the first so many verdicts no longer."""
        self.owed = self.owed[count:]
        if count:
            self.urgent = any(verdict.action not in CONFIRMS for verdict in self.owed)

    def confirmed_in_vain(
        self, groups: Sequence[tuple[str, list[Verdict]]], replies: Sequence[object]
    ) -> list[Delivery]:
        """Report all answers; return the deliveries whose confirm came after another listener had claimed them."""
        lost: list[Delivery] = []
        for (_, verdicts), reply in zip(groups, replies, strict=False):
            if isinstance(reply, bytes):
                self._config.on_answers(verdicts, reply)
                if not self._late:
                    continue
                for verdict, result in zip(verdicts, reply, strict=True):
                    if verdict.action == "confirm" and not result and verdict.delivery in self._late:
                        lost.append(verdict.delivery)
                    self._late.discard(verdict.delivery)
        return lost

    def say_lost(self, lost: Sequence[Delivery]) -> None:
        """Tell people, in one line: after a freeze, it is all that a worker held."""
        named = ", ".join(self._config.describe(delivery) for delivery in lost[:MOST_NAMED])
        more = f" and {len(lost) - MOST_NAMED} more" if len(lost) > MOST_NAMED else ""
        logger.warning(
            "dtimer: leases lost: %d, not renewed for %g s: this process was frozen, cut off from Redis, or kept busy "
            "by a task; their events run elsewhere too: %s%s",
            len(lost),
            self._confirm_timeout,
            named,
            more,
            extra={"dtimer_events": [delivery.id for delivery in lost], "dtimer_listener": self._config.name},
        )
