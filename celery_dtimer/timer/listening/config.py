"""The arguments of a listener, given by its owner, a DTimer or a worker; its parts read them here."""

import os
import socket
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from celery_dtimer.timer.events import Delivery, Verdict


class Room(NamedTuple):
    """The events that can be started soon.

    Attributes:
        events: Their greatest number.
        patient: Only events overdue by PATIENCE_MS: there is no room here, and none elsewhere either.
    """

    events: int
    patient: bool = False


@dataclass(frozen=True, kw_only=True)
class ListenerConfig:
    """The arguments of a listener.

    Attributes:
        queues: Returns the names of the queues to claim for; asked before every claim.
        deliver: Called with each batch of deliveries, or of what ``prepare`` made of them, in the listener's thread.
        max_events: Most deliveries held at a time, until the listener's own ``max_events`` is set.
        confirm_timeout: Seconds after which a lease lapses.
        poll_interval: Seconds between two polls.
        on_error: Called with errors of ``deliver``, and once with the first of a row of Redis' errors or a queue's.
        prepare: Called with each delivery as soon as it is claimed, and the monotonic instant at which it is due, some
            milliseconds later. What it returns is delivered; None: nothing is. Raises nothing.
        lead: Seconds before it is due at which it is delivered.
        limit: The catch-up limit unless one is stored, see ``own_limit``; (0, 0): none.
        alive: Returns whether a delivery is still in work. Its lease is renewed then, else it lapses unless a verdict
            comes first. None: no lease is renewed, and a lapsed one counts as ended.
        describe: Returns a delivery's name in the log; by default its id.
        on_answers: Called with verdicts that Redis has answered, and its answers, see verdicts.lua.
        on_parked: Called with the ids of events that a claim has parked, and the queues that it was for.
        parked_ttl: Seconds after which what is parked is dropped; None: it is kept.
        on_dropped: Called with the queues of the events that were dropped so, one each; empty if it is not known.
        room: Returns the room for more events, before every claim; when it grows, call ``look``. None: ``max_events``
            alone counts.
        look_after: Called now and then while deliveries are held; returns the seconds until its next call, or None for
            after the next delivery.
        name: Name of the holder, for people; by default pid@host.
        id: Name of the listener, for the promise.
    """

    queues: Callable[[], Sequence[str]]
    deliver: Callable[[list[Any]], None]
    max_events: int
    confirm_timeout: float
    poll_interval: float
    on_error: Callable[[BaseException], None]
    prepare: Callable[[Delivery, float], Any] = lambda delivery, _due: delivery
    lead: float = 0.0
    limit: tuple[int, int] = (0, 0)
    alive: Callable[[Delivery], bool] | None = None
    describe: Callable[[Delivery], str] = lambda delivery: repr(delivery.id)
    on_answers: Callable[[Sequence[Verdict], Sequence[int]], None] = lambda _verdicts, _answers: None
    on_parked: Callable[[Sequence[str], Sequence[str]], None] = lambda _ids, _queues: None
    parked_ttl: float | None = None
    on_dropped: Callable[[Sequence[str]], None] = lambda _queues: None
    room: Callable[[], Room] | None = None
    look_after: Callable[[], float | None] | None = None
    name: str = field(default_factory=lambda: f"{os.getpid()}@{socket.gethostname()}")
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:16])
