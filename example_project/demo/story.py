"""What happens in the demo: about a hundred events of the shop, and what is done to some of them."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from shop import celery_app, config
from shop.accounts.services import close_month, start_trial
from shop.baskets.services import hold_basket, touch_basket
from shop.orders.services import pay, place_order
from shop.payments import gateway
from shop.payments.services import pay_later

from celery_dtimer import EventInfo, TimerResult, get_timer
from demo.records import Records, Run

#: Seconds after the start at which the events are due that the workers run when one of them is killed.
STATEMENTS_DUE = 9.5

#: A statement has run so many seconds when its worker is killed.
STATEMENT_RUNS = 0.6

#: The order that is paid, and the basket that is held.
PAID, HELD = "1030", "512"

#: Seconds that the gateway is down.
GATEWAY_DOWN = 3.0

#: The baskets that are touched again and again, and the seconds after which they lapse.
TOUCHED = ("501", "502", "503", "504")
TOUCHED_LAPSE_AFTER = 4.0


@dataclass
class Event:
    """An event that the demo posted.

    Attributes:
        result: What the post returned.
        label: What people call it.
        dues: When it was due, in seconds since 1970, as ``peek`` said: one instant for the post, and one for each retry
            of the task. Moving it changes the last.
        cancelled: Whether a cancel has ended it; None: nobody tried.
        moved_from: When it was due before it was moved.
        held: Whether the killed worker held it.
        finished: Whether a run has succeeded.
    """

    result: TimerResult
    label: str
    dues: list[float]
    cancelled: bool | None = None
    moved_from: float | None = None
    held: bool = False
    finished: bool = False

    @property
    def settled(self) -> bool:
        """Whether nothing more will come of it."""
        return self.finished or bool(self.cancelled)


@dataclass
class Story:
    """The events, and the acts that are still to come.

    Attributes:
        events: Event id to event.
        records: The tasks' own records.
        told: What has happened and not been shown yet.
        started: When the first event was posted, by the monotonic clock, in seconds.
        killed: The worker that was killed.
        killed_at: When, in seconds since 1970.
    """

    events: dict[str, Event] = field(default_factory=dict)
    records: Records = field(default_factory=Records)
    told: list[str] = field(default_factory=list)
    started: float = 0.0
    killed: str | None = None
    killed_at: float = 0.0

    def __post_init__(self) -> None:
        self._timer = get_timer(celery_app)
        self._acts = [
            (2.0, self._touch),
            (4.0, self._touch),
            (4.5, self._pay),
            (5.5, self._hold),
            (6.0, self._touch),
            (7.0, self._take_gateway_down),
        ]

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def settled(self) -> bool:
        """Whether every event has run or was cancelled."""
        return all(event.settled for event in self.events.values())

    def post(self) -> None:
        """Post the events, due over some twenty seconds."""
        self.started = time.monotonic()
        now = datetime.now(UTC)
        for i in range(44):
            name = f"{1001 + i}"
            self._posted(place_order(name, 4_900, remind_after=1.0 + 0.43 * i), f"order {name}")
        for i in range(20):
            name = f"{201 + i}"
            self._posted(start_trial(name, now + timedelta(seconds=1.2 + 0.93 * i)), f"trial {name}")
        for i in range(12):
            name = f"{3001 + i}"
            self._posted(pay_later(name, 9_900, after=1.5 + 1.5 * i), f"payment {name}")
        for i, name in enumerate(TOUCHED):
            self._posted(touch_basket(name, TOUCHED_LAPSE_AFTER, lapse_at_last=8.0 + i), f"basket {name}")
        for i in range(10):
            name = f"{511 + i}"
            self._posted(touch_basket(name, 7.2 + 1.3 * i), f"basket {name}")
        for i in range(3):
            name = f"{301 + i}"
            at = now + timedelta(seconds=STATEMENTS_DUE + 0.1 * i)
            self._posted(close_month(name, at), f"statement {name}")
        self.told.append(f"posted {len(self.events)} events, due over the next 20 s")

    def go_on(self) -> None:
        """Read what the tasks recorded, and do what is to be done by now."""
        self._read()
        while self._acts and self.elapsed >= self._acts[0][0]:
            _, act = self._acts.pop(0)
            act()

    def victim(self, workers: list[str]) -> str | None:
        """The worker to kill: the one that runs the most statements, once one has run a little; None: not yet."""
        running = {worker: self._statements(worker) for worker in workers}
        worker = max(running, key=lambda name: len(running[name]))
        began = min((run.started for run in running[worker]), default=None)
        if began is not None and time.time() - began >= STATEMENT_RUNS:
            return worker
        # A machine so busy that the demo saw none of them run.
        return worker if self.elapsed > STATEMENTS_DUE + 6 else None

    def take_note_of_kill(self, worker: str) -> None:
        """Ask for every event whether the worker held it: nobody can change that before its lease lapses."""
        self.killed, self.killed_at = worker, time.time()
        for event_id, event in self.events.items():
            info = self._timer.peek(event_id)
            event.held = info is not None and (info.holder or "").partition("@")[0] == worker
        held = [event.label for event in self.events.values() if event.held]
        self.told.append(f"killed the worker {worker} (SIGKILL), which held {', '.join(held) or 'nothing'}")

    def event_of(self, run: Run) -> Event:
        """Return the event of a run."""
        return self.events[run.event_id]

    def _statements(self, worker: str) -> list[Run]:
        return [run for run in self.records.running(worker) if run.kind == "write_statement"]

    def _posted(self, result: TimerResult, label: str) -> None:
        self.events[result.id] = Event(result, label, [_due(result.peek())])

    def _read(self) -> None:
        started, ended = self.records.read()
        for run in started:
            event = self.event_of(run)
            if run.redeliveries and self.killed:
                after = run.received - self.killed_at
                self.told.append(f"{event.label} is redelivered to {run.worker}, {after:.1f} s after the kill")
        for run in ended:
            event = self.event_of(run)
            if run.outcome == "SUCCESS":
                event.finished = True
            elif run.outcome == "RETRY":
                # Its retry waits in the timer, under the same id.
                info = event.result.peek()
                event.dues.append(_due(info) if info else run.started + config.GATEWAY_RETRY_AFTER)
                wait = event.dues[-1] - time.time()
                self.told.append(f"{event.label}: the gateway is down, so it retries in {wait:.1f} s")

    # --- the acts

    def _labelled(self, label: str) -> Event:
        return next(event for event in self.events.values() if event.label == label)

    def _touch(self) -> None:
        postponed = 0
        for basket in TOUCHED:
            event = self._labelled(f"basket {basket}")
            # A touch in the very last moment would be the start of another basket.
            if event.dues[-1] - time.time() > 1:
                event.dues[-1] = _due(touch_basket(basket, TOUCHED_LAPSE_AFTER).peek())
                postponed += 1
        self.told.append(f"touched {postponed} baskets: they are postponed, as far as their max_wait allows")

    def _pay(self) -> None:
        event = self._labelled(f"order {PAID}")
        event.cancelled = pay(PAID)
        left = event.dues[-1] - time.time()
        done = "is cancelled" if event.cancelled else "could not be cancelled"
        self.told.append(f"{event.label} is paid: its reminder {done}, {left:.1f} s before it is due")

    def _hold(self) -> None:
        event = self._labelled(f"basket {HELD}")
        event.moved_from = event.dues[-1]
        hold_basket(HELD, 10.0)
        event.dues[-1] = _due(event.result.peek())
        self.told.append(f"{event.label} is held: moved by {event.dues[-1] - event.moved_from:.1f} s")

    def _take_gateway_down(self) -> None:
        gateway.take_down(GATEWAY_DOWN)
        self.told.append(f"the payment gateway is down for {GATEWAY_DOWN:.0f} s")


def _due(info: EventInfo | None) -> float:
    """When an event is due, in seconds since 1970."""
    if info is None:
        raise RuntimeError("the timer does not know an event that waits")
    return info.due_at.timestamp()
