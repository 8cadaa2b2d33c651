"""Many parked events replayed or dropped, in as few calls as they take."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, TypeVar

from celery_dtimer.errors import TimerUnavailableError
from celery_dtimer.timer.parked import Unparked
from celery_dtimer.timer.storing.choosing import Choice
from celery_dtimer.timer.storing.claims import CLAIM, id_of
from celery_dtimer.timer.storing.namespace import Shards
from celery_dtimer.timer.storing.progress import tell
from celery_dtimer.timer.storing.shard import Store

T = TypeVar("T")


@dataclass
class Unparking:
    """Replays, or drops, what it is given, and counts what became of it.

    Args:
        shards: Where it is parked.
        action: Which of the two.
        delay_ms: What is replayed is due so long from now;
        gap_ms: and each is due so much later than the one before.
        dry_run: Change nothing, and count what would.
    """

    shards: Shards
    action: Literal["replay", "drop"]
    delay_ms: int = 0
    gap_ms: float = 0.0
    dry_run: bool = False
    done: int = 0
    in_use: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def by_ids(self, ids: Sequence[str]) -> Unparked:
        """Take the newest that is parked of each id.

        Raises:
            TimerUnavailableError: Redis did not answer; it says how many were done before.
        """
        for number, store in enumerate(self.shards):
            here: Iterator[str] = (event_id for event_id in ids if self.shards.number_of(event_id) == number)
            while batch := list(islice(here, CLAIM)):
                self._take(store, batch, ())
        return self._sum()

    def by_filter(self, kind: bytes, reason: str) -> Unparked:
        """Take all that is parked, or what is of a kind, or has a text in its reason; the newest first.

        What is parked meanwhile stays.

        Raises:
            TimerUnavailableError: Redis did not answer; it says how many were done before.
        """
        for store in self.shards:
            position = None
            while page := self._page(store.parked(position, limit=CLAIM, kind=kind, reason=reason, prefix="")):
                position = page[-1][0]
                self._take(store, [here.key for here, _ in page], {event.queue for _, event in page})
        return self._sum()

    def by_tag(self, choice: Choice, reason: str) -> Unparked:
        """Take all that is parked and has a tag, or what of it is of a kind, or has a text in its reason.

        Raises:
            TimerUnavailableError: Redis did not answer; it says how many were done before.
        """
        for store in self.shards:
            rows = choice.parked_rows(store, reason)
            while page := self._page(rows):
                self._take(store, [row.key for row in page], {row.queue for row in page})
        return self._sum()

    def _page(self, rows: Iterator[T]) -> list[T]:
        with self._counted():
            return list(islice(rows, CLAIM))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except TimerUnavailableError as exc:
            done = {"replay": "pending again", "drop": "dropped"}[self.action]
            raise TimerUnavailableError(
                f"{exc}; {self.done} events were {done} before", event_ids=exc.event_ids, asked=exc.asked
            ) from exc

    def _take(self, store: Store, names: Sequence[str | bytes], queues: Iterable[str]) -> None:
        left = list(names)
        while left:
            timed = [(name, self.delay_ms + int((self.done + i) * self.gap_ms)) for i, name in enumerate(left)]
            with self._counted():
                replies = store.unpark(self.action, timed, queues, dry_run=self.dry_run)
            names, left = left, []
            for name, reply in zip(names, replies, strict=True):
                if reply == 0:
                    left.append(name)
                elif reply > 0:
                    self.done += 1
                else:
                    event_id = name if isinstance(name, str) else id_of(name)[0]
                    (self.unknown if reply == -1 else self.in_use).append(event_id)
            tell(len(names) - len(left))

    def _sum(self) -> Unparked:
        return Unparked(self.done, tuple(self.in_use), tuple(self.unknown))
