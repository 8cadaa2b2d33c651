"""Storing what ``export`` has written: line by line, in batches, and each event once."""

import base64
import binascii
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Literal

from celery_dtimer.errors import DTimerError
from celery_dtimer.extension import Extension
from celery_dtimer.operating.export_command import VERSION
from celery_dtimer.posting.eta import eta_of
from celery_dtimer.timer.checks import check_id, check_payload, check_queue, check_tags, check_task, kind_of
from celery_dtimer.timer.events import NewEvent, State
from celery_dtimer.timer.options import MAX_REDELIVERIES
from celery_dtimer.timer.shown import wrong
from celery_dtimer.timer.storing.progress import tell

#: Lines that are stored together, and bytes of their payloads.
BATCH = 500
BATCH_BYTES = 1024 * 1024

#: Questions about ids in one round trip: each answer has a payload.
QUESTIONS = 100

#: Characters of a line beside its payload.
REST_OF_LINE = 16 * 1024

#: Refused lines that the report has; all are counted.
MOST_REFUSED = 1000

OnConflict = Literal["keep", "replace", "error"]


@dataclass
class Report:
    """What became of the lines.

    Attributes:
        stored: Events that are stored now (with ``dry_run``: that would be).
        skipped: Lines that were left out: the id is in the timer already, or the event is a parked one.
        refused: Lines that are broken, or whose event the timer does not take.
        refusals: The first of those: the line's number and why.
        next_line: The line to go on from, if it was interrupted.
    """

    stored: int = 0
    skipped: int = 0
    refused: int = 0
    refusals: list[dict[str, Any]] = field(default_factory=list)
    next_line: int = 1


class Importer:
    """Reads lines and stores their events.

    Args:
        extension: The app's timer.
        on_conflict: The effect on a task that has the id already: ``keep`` it, wherever it is; ``replace`` it if it is
            pending; ``error``: refuse the line.
        parked: Whether parked events are stored, as pending ones.
        dry_run: Change nothing.
        on_refused: Is told of each refused line: its number and why.
    """

    def __init__(
        self,
        extension: Extension,
        *,
        on_conflict: OnConflict = "keep",
        parked: bool = False,
        dry_run: bool = False,
        on_refused: Callable[[int, str], None] | None = None,
    ) -> None:
        self.report = Report()
        self._extension = extension
        self._conflict = on_conflict
        self._parked = parked
        self._dry_run = dry_run
        self._on_refused = on_refused
        self._most = extension.settings.max_payload * 4 // 3 + REST_OF_LINE

    def run(self, stream: IO[bytes], from_line: int = 1) -> Report:
        """Store the events of a stream, from a line on.

        Raises:
            DTimerError: Redis did not answer, or is full; ``report.next_line`` is the first line that may be undone.
        """
        batch: list[tuple[int, NewEvent]] = []
        size = number = 0
        for number, line in enumerate(self._lines(stream), 1):
            if number < from_line:
                continue
            event = self._read(number, line)
            if event is None:
                continue
            if batch and (len(batch) == BATCH or size + len(event.payload) > BATCH_BYTES):
                self._store(batch)
                batch, size = [], 0
                self.report.next_line = number
            batch.append((number, event))
            size += len(event.payload)
        self._store(batch)
        self.report.next_line = max(number + 1, from_line)
        return self.report

    def _lines(self, stream: IO[bytes]) -> Iterator[bytes | None]:
        """Read lines, None for one that is too long: it is not kept."""
        while line := stream.readline(self._most):
            too_long = not line.endswith(b"\n") and len(line) == self._most
            while too_long and line and not line.endswith(b"\n"):
                line = stream.readline(self._most)
            yield None if too_long else line

    # --- one line

    def _read(self, number: int, line: bytes | None) -> NewEvent | None:
        try:
            if line is None:
                limit = self._extension.settings.max_payload
                raise ValueError(f"it is longer than {self._most} bytes (dtimer_max_payload is {limit})")
            if not line.strip():
                return None
            return self._event(json.loads(line))
        except (DTimerError, ValueError, TypeError, RecursionError) as exc:
            self._refuse(number, str(exc))
        return None

    def _event(self, line: Any) -> NewEvent | None:
        if not isinstance(line, dict):
            raise wrong("line", "a JSON object", line)
        if line.get("v") != VERSION:
            raise wrong(
                "v", f"{VERSION}, the version of the lines that this version of celery-dtimer reads", line.get("v")
            )
        state = line.get("state")
        if state not in (State.PENDING, State.PARKED):
            raise wrong("state", "pending or parked", state)
        event = NewEvent(
            check_id(line.get("id")),
            check_payload(
                _decoded(line.get("payload")), self._extension.settings.max_payload, limited_by="dtimer_max_payload"
            ),
            "at",
            eta_of(line.get("due_at"), "due_at"),
            MAX_REDELIVERIES.check(line.get("max_redeliveries")),
            check_queue(line.get("queue")),
            kind_of(None if line.get("task") is None else check_task(line["task"])),
            check_tags(line.get("tags")),
        )
        if state == State.PARKED and not self._parked:
            self.report.skipped += 1
            tell(1)
            return None
        return event

    def _refuse(self, number: int, why: str) -> None:
        self.report.refused += 1
        if len(self.report.refusals) < MOST_REFUSED:
            self.report.refusals.append({"line": number, "reason": why})
        if self._on_refused is not None:
            self._on_refused(number, why)
        tell(1)

    # --- a batch

    def _store(self, batch: list[tuple[int, NewEvent]]) -> None:
        shards = self._extension.shards
        places: dict[tuple[int, str], list[tuple[int, NewEvent]]] = {}
        for number, event in batch:
            places.setdefault((shards.number_of(event.id), event.queue), []).append((number, event))
        for (shard, _), lines in places.items():
            new = lines if self._conflict == "replace" else list(self._unknown(shard, lines))
            if self._dry_run:
                self.report.stored += len(new)
            elif new:
                self._post(shard, new)
            tell(len(lines))

    def _unknown(self, shard: int, lines: list[tuple[int, NewEvent]]) -> Iterator[tuple[int, NewEvent]]:
        """Leave out what has the id of an event that is in the timer, or of an earlier line."""
        store = self._extension.shards[shard]
        seen: set[str] = set()
        for start in range(0, len(lines), QUESTIONS):
            part = lines[start : start + QUESTIONS]
            replies: dict[str, Any] = {}
            store.ask_each({event.id: store.call("peek", [event.queue], event.id) for _, event in part}, replies)
            for number, event in part:
                state = State(replies[event.id][0].decode()) if replies[event.id] else None
                if event.id in seen:
                    state = State.PENDING
                seen.add(event.id)
                if state is None:
                    yield number, event
                else:
                    self._conflicting(number, event, state)

    def _post(self, shard: int, lines: list[tuple[int, NewEvent]]) -> None:
        events = [event for _, event in lines]
        conflict = "replace" if self._conflict == "replace" else "error"
        replies = self._extension.shards[shard].post(events, conflict=conflict)
        for (number, event), due_ms in zip(lines, replies, strict=True):
            if due_ms < 0:  # it was posted since we asked
                self._conflicting(number, event, State.PENDING)
                continue
            self.report.stored += 1
            self._extension.counters.posted(event, due_ms, conflict)

    def _conflicting(self, number: int, event: NewEvent, state: State) -> None:
        if self._conflict == "keep":
            self.report.skipped += 1
        else:
            self._refuse(number, f"the task {event.id} is {state} already")


def _decoded(payload: object) -> bytes:
    if not isinstance(payload, str):
        raise wrong("payload", "base64 text", payload)
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise wrong("payload", "base64 text", payload, f": {exc}") from exc
