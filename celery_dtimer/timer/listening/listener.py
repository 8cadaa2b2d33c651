"""The loop of a listener: claim due events, renew the leases of living ones, send verdicts.

One thread owns all state, and alone sends scripts. Everybody else puts a note into its mailbox (notes.py). The wake
thread blocks on the wake lists, and puts a note when Redis hands it a token. The loop sleeps on its own clock until the
instant of its promise: Redis wakes a blocked client up to 100 ms late. shard_round.py has the part of each shard.
"""

import threading
import time
from functools import partial

from redis.exceptions import NoPermissionError, RedisError

from celery_dtimer.errors import DTimerError
from celery_dtimer.timer.events import Delivery, Verdict
from celery_dtimer.timer.listening.config import ListenerConfig, Room
from celery_dtimer.timer.listening.handing_over import HandingOver
from celery_dtimer.timer.listening.leases import LINGER
from celery_dtimer.timer.listening.notes import Notes
from celery_dtimer.timer.listening.outage import Outage
from celery_dtimer.timer.listening.quiet import Quiet
from celery_dtimer.timer.listening.shard_round import RETRY_FIRST, ShardListener
from celery_dtimer.timer.listening.sharers import Sharers
from celery_dtimer.timer.listening.wake_thread import WakeThread
from celery_dtimer.timer.storing.namespace import Shards


class Listener(Notes):
    """Claims events of some queues and hands them to ``deliver``.

    Args:
        shards: The shards of the events.
        config: All else.

    Attributes:
        max_events: Most deliveries held at a time.
    """

    def __init__(self, shards: Shards, config: ListenerConfig) -> None:
        self.max_events = config.max_events
        self.name = config.name
        self.id = config.id
        self.told_to_stop = False  # it hands over nothing more then
        self._config = config

        super().__init__()
        # Leases are renewed, however many threads post at the same time.
        shards = shards.apart(config.name)
        self._servers = shards.servers
        self._wake_thread = WakeThread([store.server for store in shards], self.put, self.put)
        self._thread = threading.Thread(target=self._run, name="dtimer-listener", daemon=True)

        # Owned by the loop's thread from here on.
        self._claiming = True
        self._stopping = False
        self._soon = HandingOver(config, self.release)
        self._look_at: float | None = None
        self._quiet = Quiet(config.lead)
        self.outage = Outage(config.name, config.on_error)
        self._turn = 0
        self._rounds_at = [time.monotonic()] * len(shards)
        sharers = Sharers(len(shards))
        self._shards = [
            ShardListener(
                store,
                config,
                room=self._room,
                take=self._take,
                meanwhile=self._soon.meanwhile,
                listen=partial(self._wake_thread.listen, number),
                sharers=sharers,
            )
            for number, store in enumerate(shards)
        ]

    # --- for any thread

    def start(self) -> None:
        """Start to listen."""
        # The loop's own thread last: its first delivery may stop both.
        self._wake_thread.start()
        try:
            self._thread.start()
        except BaseException:
            # No thread is to be had.
            self._wake_thread.stop()
            raise

    def stop(self, timeout: float | None = None, *, release: bool = False) -> bool:
        """Send the owed verdicts, pass the promises on and stop; returns whether that is done.

        Any thread may, and more than one. A listener that has not started stops as soon as it has.

        Args:
            timeout: Seconds to wait for that; None: as long as Redis takes to answer once. A handler's own thread does
                not wait.
            release: Release the deliveries that are still held; else they stay leased.
        """
        self.told_to_stop = True
        give_up = None if timeout is None else time.monotonic() + timeout
        # The wake thread first, or it would take the token that passes the promise on.
        self._wake_thread.stop(timeout)
        if release:
            self.put("release all")
        self.put("stop")
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join(None if give_up is None else max(0.0, give_up - time.monotonic()))
        return self.ended

    @property
    def ended(self) -> bool:
        """Whether its thread has run and does not any more; so it is in the child of a fork."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def has_lapsed(self, delivery: Delivery) -> bool:
        """Whether the lease of a delivery is over by our clock: another listener may have it by now."""
        return self._shards[delivery.shard].leases.has_lapsed(delivery)

    @property
    def in_flight(self) -> int:
        """The number of deliveries held at the moment."""
        return sum(len(shard.leases.held) for shard in self._shards)

    @property
    def round_trip(self) -> float:
        """Seconds that a round trip takes lately, in the shard where that is longest."""
        return max(shard.round_trip for shard in self._shards)

    @property
    def last_round(self) -> float:
        """Seconds since the last round that succeeded, of the shard where that is longest."""
        return time.monotonic() - min(self._rounds_at)

    @property
    def clock_offset(self) -> float | None:
        """Seconds that this host's clock is ahead of the servers', where that is most; None before they were heard."""
        aheads = [shard.clock_ahead for shard in self._shards]
        offsets = [time.time() - time.monotonic() - ahead for ahead in aheads if ahead is not None]
        return max(offsets, key=abs) if offsets else None

    # --- the loop

    def _run(self) -> None:
        while True:
            try:
                self._collect()
                if self._soon.hand_over():
                    self._quiet.delivered(time.monotonic())
                self._look_after_deliveries()
            except Exception as exc:  # noqa: BLE001 - a defect of ours: the loop goes on, and the operator hears of it
                self.outage.defect(exc)
                time.sleep(RETRY_FIRST)  # or a defect that stays would spin
            if not self._stopping and self._rounds_wait_until():
                continue
            self._quiet.over()
            # Each is the first in its turn: a flood in one leaves room for the others.
            self._turn += 1
            for i in range(len(self._shards)):
                self._round((i + self._turn) % len(self._shards))
            if self._stopping and not self._soon and all(shard.owes_nothing for shard in self._shards):
                self._pass_on_again()
                self._servers.close()
                return

    def _pass_on_again(self) -> None:
        """Replace the token that the last claim may have left to the wake thread's connection.

        It is closed, but Redis may have heard that after the claim. By now it has heard.
        """
        for number, shard in enumerate(self._shards):
            if not shard.failures:
                shard.hungry = True
                self._round(number)

    def _round(self, number: int) -> None:
        shard = self._shards[number]
        if time.monotonic() < shard.quiet_until and not self._stopping:
            self._soon.meanwhile()
            return
        try:
            shard.round()
        except (RedisError, OSError, DTimerError) as exc:
            self.outage.failed(number, shard, exc)
        except Exception as exc:  # noqa: BLE001 - as in the loop
            self.outage.defect(exc)
            self.outage.failed(number, shard, exc)
        else:
            self._rounds_at[number] = time.monotonic()
            if shard.failures:
                shard.recovered()
                self._wake_thread.reconnect(number)
                self.outage.recovered(number)
        if shard.failures:
            self._soon.meanwhile()  # it may have sent nothing

    def _collect(self) -> None:
        """Sleep until there is something to do, then take all notes from the mailbox."""
        for note in self._mailbox.take(self._next_instant()):
            self._note(note)

    def _rounds_wait_until(self) -> float:
        return self._quiet.until(time.monotonic(), self._soon.next_instant)

    def _next_instant(self) -> float:
        until = self._rounds_wait_until()
        instants = [max(until, min(shard.next_instant() for shard in self._shards))]
        if until:
            instants.append(until)  # a note may have come for a round
        if (soon := self._soon.next_instant) is not None:
            instants.append(soon)
        if self._look_at is not None:
            instants.append(self._look_at)
        return min(instants)

    def _note(self, note: "Verdict | NoPermissionError | int | str") -> None:
        if isinstance(note, Verdict):
            self._shards[note.delivery.shard].leases.decide(note)
        elif isinstance(note, int):
            self._wake_thread.answered(note)
            self._shards[note].wake()
        elif isinstance(note, str):
            self._obey(note)
        else:
            self.outage.deaf(note, self._config.poll_interval)

    def _obey(self, order: str) -> None:
        if order == "wake":
            for shard in self._shards:
                shard.wake()
        elif order == "release all":
            for shard in self._shards:
                shard.leases.release_all("its worker shut down")
        elif order == "resume":
            self._claim(claiming=True)
        elif order in ("pause", "stop"):  # and "look" is done by the rounds that come now
            for delivery in self._soon.give_back():
                self._note(Verdict(delivery, "return", reason="its listener stopped"))
            # One more claim, for nothing: it passes the promises on.
            self._claim(claiming=False)
            self._stopping = self._stopping or order == "stop"

    def _claim(self, *, claiming: bool) -> None:
        self._claiming = claiming
        for number, shard in enumerate(self._shards):
            shard.claiming = claiming
            shard.hungry = True
            if not claiming:
                self._wake_thread.listen(number, ())

    def _room(self) -> Room:
        held = self.in_flight
        full = held >= self.max_events
        self._patience = 0.0 if full else LINGER
        if not self._claiming or full:
            return Room(0)
        count, patient = self._config.room() if self._config.room is not None else Room(self.max_events)
        return Room(min(self.max_events - held, count, self._soon.most_at_once(self.max_events)), patient)

    def _take(self, claimed: list[tuple[float, Delivery]]) -> None:
        self._soon.take(claimed, self.max_events)

    def _look_after_deliveries(self) -> None:
        if self._config.look_after is not None:
            seconds = self._config.look_after()
            self._look_at = None if seconds is None else time.monotonic() + seconds
