"""What the tests of shards share: where they are, who listens, who posts, and ids of a shard."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from rig.servers import RedisServer
from rig.waiting import wait_until

from celery_dtimer import Delivery, DTimer, DTimerError, TimerUnavailableError


@dataclass(frozen=True)
class Place:
    """Where shards are.

    Attributes:
        url: The timer's.
        servers: All that have keys.
    """

    url: str
    servers: Sequence[RedisServer]

    def dump(self) -> dict[bytes, bytes]:
        """Every key of the timer with its value, as one value that tests compare."""
        found = {}
        for server in self.servers:
            with server.client() as client:
                found |= {key: client.dump(key) for key in client.keys("{*")}
        return found


class Member:
    """A timer that has joined, and writes down what it is given; that it confirms, unless told otherwise."""

    def __init__(self, url: str, *, act: Callable[[Delivery], object] | None = None, **options: object) -> None:
        self.timer = DTimer(url, **options)
        self.deliveries: list[Delivery] = []
        self.late_ms: list[float] = []
        self.errors: list[BaseException] = []
        self._act = act or self.timer.confirm_soon
        self.timer.on_event(self._on_event)
        self.timer.on_error(self.errors.append)
        self.timer.join()

    def _on_event(self, delivery: Delivery) -> None:
        # The servers are on this machine and have its clock.
        self.late_ms.append(time.time() * 1000 - delivery.due_ms)
        self.deliveries.append(delivery)
        self._act(delivery)

    @property
    def ids(self) -> list[str]:
        return [delivery.id for delivery in self.deliveries]


def keep(delivery: Delivery) -> None:
    """Do nothing with a delivery."""


class Poster(threading.Thread):
    """Posts events that are due within a second, one after the other, until it is stopped as a context manager."""

    def __init__(self, timer: DTimer, ids: Callable[[int], str] = str, *, pause: float = 0.005) -> None:
        super().__init__(daemon=True)
        self.posted: list[str] = []
        self.refusals: list[DTimerError] = []
        self.stopped = threading.Event()
        self._timer, self._ids, self._pause = timer, ids, pause

    def run(self) -> None:
        for number in itertools.count():
            event_id = self._ids(number)
            while not self.stopped.wait(self._pause):
                try:
                    self._timer.post(b"p", number % 10 / 10, id=event_id, on_conflict="keep")
                except TimerUnavailableError as exc:
                    self.refusals.append(exc)
                    continue
                self.posted.append(event_id)
                break
            else:
                return

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stopped.set()
        self.join(60)
        assert not self.is_alive(), "a post hangs"


class Call(threading.Thread):
    """A call in a thread of its own, and what it came to."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        super().__init__(daemon=True)
        self._function, self._arguments = function, arguments
        self._outcome: tuple[object, BaseException | None] | None = None
        self.start()

    def run(self) -> None:
        try:
            self._outcome = self._function(*self._arguments), None
        except BaseException as exc:  # noqa: BLE001 - raised again by result
            self._outcome = None, exc

    def result(self, timeout: float = 20.0) -> object:
        self.join(timeout)
        assert self._outcome is not None, "the call hangs"
        answer, error = self._outcome
        if error is not None:
            raise error
        return answer


def shard_of(timer: DTimer, event_id: str) -> int:
    """The number of the shard that an event of this id is in."""
    return timer.shards.of(event_id).keys.shard


def ids_of(timer: DTimer, shard: int, count: int, prefix: str = "") -> list[str]:
    """So many ids of one shard."""
    ids = (f"{prefix}{number}" for number in itertools.count())
    return list(itertools.islice((event_id for event_id in ids if shard_of(timer, event_id) == shard), count))


def is_empty(timer: DTimer) -> bool:
    """Whether nothing waits, and nothing is leased or parked."""
    with contextlib.suppress(TimerUnavailableError):
        counts = timer.count()
        return counts.pending == counts.leased == counts.parked == 0
    return False


def blocks(server: RedisServer) -> bool:
    """Whether a wake thread blocks on this server."""
    with server.client() as watcher:
        return "blpop" in {row["cmd"] for row in watcher.client_list() if "b" in row["flags"]}


def wait_until_empty(timer: DTimer, timeout: float = 20.0) -> None:
    """Wait until the last confirm has arrived."""
    wait_until(lambda: is_empty(timer), "an empty timer", timeout)
