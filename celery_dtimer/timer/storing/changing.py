"""Many events cancelled or moved in few round trips, and the answer about each."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal

from celery_dtimer.errors import ChangeManyError, TimerFullError, TimerUnavailableError
from celery_dtimer.timer.events import Answer, EventInfo, State
from celery_dtimer.timer.storing.choosing import Choice, planned
from celery_dtimer.timer.storing.namespace import Shards
from celery_dtimer.timer.storing.progress import tell
from celery_dtimer.timer.storing.scripts import Call
from celery_dtimer.timer.storing.shard import Store, answer_of

#: Calls in one round trip: each answer of a cancel has a payload.
CHANGES = 100


@dataclass
class Changes:
    """Cancels, or moves, what it is given.

    Args:
        shards: Where the events are.
        action: Which of the two.
        clock: Of a move, as ``Store.change`` has it, with ``when_ms``.
        if_due_ms: Only what is due at this instant.
        on_answer: Is told of each answer.
        dry_run: Change nothing, and answer as if it were done.
    """

    shards: Shards
    action: Literal["cancel", "change"]
    clock: Literal["in", "at"] = "in"
    when_ms: int = 0
    if_due_ms: int | None = None
    on_answer: Callable[[str, Answer], None] | None = None
    dry_run: bool = False
    answers: dict[str, Answer] = field(default_factory=dict)

    def by_ids(self, ids: Sequence[str]) -> list[Answer]:
        """Take some ids; one that is there twice is asked for once.

        Returns:
            An answer for each id, in order.

        Raises:
            ChangeManyError: Redis did not answer; it has the answers so far.
        """
        once = dict.fromkeys(ids)
        for number, store in enumerate(self.shards):
            here = (event_id for event_id in once if self.shards.number_of(event_id) == number)
            self._take(store, here, Choice(), f"of {len(once)} events")
        return [self.answers[event_id] for event_id in ids]

    def by_choice(self, choice: Choice) -> list[Answer]:
        """Take what is chosen and still is when it is changed; its answers have no payloads.

        What is posted or moved meanwhile may be missed. What is moved here and met again is left.

        Returns:
            An answer for each event that was found.

        Raises:
            ChangeManyError: Redis did not answer; it has the answers so far.
        """
        for store in self.shards:
            rows = choice.rows(store, "any" if self.action == "cancel" else "live")
            if self.if_due_ms is not None:
                rows = (row for row in rows if row.due_ms == self.if_due_ms)
            if not self.dry_run:
                self._take(store, (row.id for row in rows if row.id not in self.answers), choice, "events")
                continue
            for row in rows:
                self.answers.setdefault(row.id, planned(row, ends_parked=self.action == "cancel"))
        return list(self.answers.values())

    def _take(self, store: Store, ids: Iterable[str], choice: Choice, of: str) -> None:
        here = iter(ids)
        while True:
            batch: list[str] = []
            replies: dict[str, object] = {}
            failure: TimerUnavailableError | TimerFullError | None = None
            try:
                batch = list(islice(here, CHANGES))
                if batch and self.dry_run:
                    self._peek(store, batch)
                elif batch:
                    store.ask_each({event_id: self._call(store, event_id, choice) for event_id in batch}, replies)
            except (TimerUnavailableError, TimerFullError) as exc:
                failure = exc
            for event_id, reply in replies.items():
                self._keep(event_id, answer_of(event_id, reply), choice)
            if replies:
                tell(len(replies))
            if failure is not None:
                asked = not isinstance(failure, TimerUnavailableError) or failure.asked
                unknown = [event_id for event_id in batch if asked and event_id not in self.answers]
                raise self._failed(failure, unknown, choice, of) from failure
            if not batch:
                return

    def _call(self, store: Store, event_id: str, choice: Choice) -> Call:
        tag, kind = choice.tag or "", choice.kind
        if self.action == "cancel":
            return store.cancelling(event_id, self.if_due_ms, if_tag=tag, if_kind=kind)
        return store.changing(event_id, self.clock, self.when_ms, self.if_due_ms, if_tag=tag, if_kind=kind)

    def _keep(self, event_id: str, answer: Answer, choice: Choice) -> None:
        if self.on_answer is not None:
            self.on_answer(event_id, answer)
        chosen = choice != Choice()
        self.answers[event_id] = replace(answer, payload=None) if chosen else answer

    def _peek(self, store: Store, batch: Sequence[str]) -> None:
        found = {info.id: info for info in store.peek_many(batch)}
        for event_id in batch:
            self.answers[event_id] = self._plan(event_id, found.get(event_id))

    def _plan(self, event_id: str, info: EventInfo | None) -> Answer:
        if info is None:
            return Answer(id=event_id)
        due = self.if_due_ms is None or round(info.due_at.timestamp() * 1000) == self.if_due_ms
        done = info.state is State.PENDING or (self.action == "cancel" and info.state is State.PARKED)
        leased = info.state is State.LEASED
        return Answer(
            *(done and due, info.state, info.due_at, info.due_at, info.queue, info.holder),
            until=info.until if leased else None,
            since=info.until if info.state is State.PARKED else None,
            reason=info.reason,
            id=event_id,
        )

    def _failed(self, failure: Exception, unknown: Sequence[str], choice: Choice, of: str) -> ChangeManyError:
        done = sum(map(bool, self.answers.values()))
        rest = f", and the rest of {choice} is as it was" if choice != Choice() else ""
        return ChangeManyError(
            f"{done} {of} were changed, {len(self.answers) - done} could not be, and "
            f"{len(unknown)} may or may not have been{rest}: {failure}",
            answers=self.answers,
            unknown=unknown,
        )
