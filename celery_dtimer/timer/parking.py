"""What is parked, and its way back, for a DTimer and for an app."""

from collections.abc import Iterable
from typing import Any, Literal

from celery_dtimer.timer.checks import check_id, check_kind, check_reason, check_tag, check_task, kind_of
from celery_dtimer.timer.options import LEAST_RATE, MOST_RATE, count
from celery_dtimer.timer.parked import ParkedEvent, Unparked
from celery_dtimer.timer.shown import wrong
from celery_dtimer.timer.storing.choosing import Choice
from celery_dtimer.timer.storing.namespace import Shards
from celery_dtimer.timer.storing.parking import Position
from celery_dtimer.timer.storing.settling import Unparking
from celery_dtimer.timer.times import Delay, delay_to_ms, seconds_of

#: Events in a page.
MAX_PARKED = 10_000
LIMIT = count("limit", 100, least=1, most=MAX_PARKED)


class Parking:
    """The half of StoredEvents that is about what is parked."""

    shards: Shards

    def replay(self, id: str, delay: Delay = 0) -> bool:  # noqa: A002 - the word of the original
        """Make a parked event pending again. False, and nothing changed, if it is not parked."""
        return self.shards.of(check_id(id)).replay(id, delay_to_ms(delay)) >= 0

    def drop(self, id: str) -> bool:  # noqa: A002 - the word of the original
        """End a parked event for good, the newest of that id. False if none is parked."""
        return bool(self._unpark("drop", [id]).done)

    def _parked(
        self, limit: int, after: str | None, kind: bytes, reason: str | None, event_id: str | None, tag: str | None
    ) -> list[ParkedEvent]:
        part = "" if reason is None else check_reason(reason)
        one = "" if event_id is None else check_id(event_id)
        if one and after is not None:
            raise wrong("after", "None if an id is given", after)
        position = _position(self.shards, after)
        if tag is not None:
            choice = Choice(check_tag(tag), kind)
            found = choice.parked(self.shards, position, limit=LIMIT.check(limit), reason=part)
            return [event for event in found if one in {"", event.id}]
        return self.shards.parked(position, limit=LIMIT.check(limit), kind=kind, reason=part, event_id=one)

    def _unpark(
        self,
        action: Literal["replay", "drop"],
        ids: Iterable[str] | None,
        kind: bytes = b"",
        reason: str | None = None,
        tag: str | None = None,
        *,
        everything: bool = False,
        rate: float | None = None,
        delay: Delay = 0,
        dry_run: bool = False,
    ) -> Unparked:
        chosen = (ids is not None) + bool(kind or reason is not None or tag is not None) + (everything is True)
        if chosen != 1:
            given = {"ids": ids, "kind": kind.decode() or None, "reason": reason, "tag": tag, "all": everything}
            raise wrong("ids", "given, or a filter, or all=True, and no other of them", given)
        unparking = Unparking(self.shards, action, delay_to_ms(delay), _gap_ms(rate), dry_run=dry_run is True)
        if ids is not None:
            return unparking.by_ids(list(dict.fromkeys(check_ids(ids))))
        part = "" if reason is None else check_reason(reason)
        if tag is not None:
            return unparking.by_tag(Choice(check_tag(tag), kind), part)
        return unparking.by_filter(kind, part)


def kind_filter(name: str | None, called: Literal["kind", "task"]) -> bytes:
    """Return the kind that a filter names; empty for any.

    Raises:
        InvalidEventError: It is no name.
    """
    check = check_task if called == "task" else check_kind
    return b"" if name is None else kind_of(check(name))


def choice_of(tag: str | None, kind: bytes) -> Choice | None:
    """Return what a tag and a kind choose together; None for neither.

    Raises:
        InvalidEventError: The tag is none.
    """
    return Choice(None if tag is None else check_tag(tag), kind) if tag is not None or kind else None


def _position(shards: Shards, after: object) -> Position | None:
    if after is None:
        return None
    position = Position.read(after, shards.cursor_prefix) if isinstance(after, str) else None
    if position is None:
        raise wrong("after", "the cursor of an event that this timer's parked() has returned, or None", after)
    return position


def check_ids(ids: object) -> list[str]:
    """Return ids as a list, or raise InvalidEventError."""
    listed: list[Any] | None = None
    if isinstance(ids, Iterable) and not isinstance(ids, str | bytes):
        try:
            listed = list(ids)
        except Exception as exc:
            raise wrong("ids", "a list of ids", ids) from exc
    if listed is None:
        raise wrong("ids", "a list of ids", ids)
    return [check_id(each) for each in listed]


def _gap_ms(rate: object) -> float:
    if rate is None:
        return 0.0
    number = None if isinstance(rate, bool) else seconds_of(rate)
    if number is None or not LEAST_RATE <= number <= MOST_RATE:
        raise wrong("rate", f"a number of events a second, {LEAST_RATE:g} to {MOST_RATE:g}, or None", rate)
    return 1000 / number
