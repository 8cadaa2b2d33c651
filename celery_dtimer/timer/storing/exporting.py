"""Everything that is stored of the events of a namespace, page by page: for a copy of them elsewhere."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from celery_dtimer.timer.events import State
from celery_dtimer.timer.storing.calls import text_of
from celery_dtimer.timer.storing.claims import id_of
from celery_dtimer.timer.storing.namespace import Shards
from celery_dtimer.timer.storing.progress import tell
from celery_dtimer.timer.storing.shard import Store

#: Events that one call reads, and bytes of their payloads: it takes some milliseconds.
PAGE = 200
PAGE_BYTES = 256 * 1024

#: Between two tags in a record: a byte that no text has.
BETWEEN_TAGS = b"\xff"


@dataclass(frozen=True)
class Exported:
    """An event as it is stored.

    Attributes:
        state: ``pending`` or ``parked``.
        due_ms: Its due time, in milliseconds since 1970; of a parked one, when it was due.
        redeliveries: Deliveries that were not confirmed.
        kind: The task's name; empty for none.
        reason: Why it is parked; empty if it is pending.
        parked_ms: Since when it is parked; 0 if it is pending.
        readable: False: only id and state are known.
    """

    id: str
    state: State
    queue: str
    due_ms: int
    redeliveries: int
    max_redeliveries: int
    kind: str
    tags: tuple[str, ...]
    payload: bytes = field(repr=False)
    reason: str = ""
    parked_ms: int = 0
    readable: bool = True


def exported(shards: Shards, *, queues: Iterable[str] | None = None, parked: bool = False) -> Iterator[Exported]:
    """Go through what is pending, queue by queue and soonest first, and then through what is parked.

    This is no snapshot: it reads page by page, and goes on behind the last event that it has seen. What is posted or
    moved before that place meanwhile is left out, and what is moved behind it comes twice.

    Args:
        shards: Where the events are.
        queues: Only those of these queues; None: of all.
        parked: Whether parked events are read too.

    Raises:
        TimerUnavailableError: Redis did not answer.
    """
    chosen = None if queues is None else set(queues)
    for store in shards:
        for names in store.queues("export"):
            for name in names:
                if chosen is None or name in chosen:
                    yield from _pages(store, "due", [name])
    if parked:
        for store in shards:
            for event in _pages(store, "parked", []):
                if chosen is None or event.queue in chosen:
                    yield event


def _pages(store: Store, what: Literal["due", "parked"], queues: list[str]) -> Iterator[Exported]:
    after: bytes | str = ""
    member = b""
    state = State.PENDING if what == "due" else State.PARKED
    while True:
        after, member, rows = store.ask(store.call("export", queues, what, after, member, PAGE, PAGE_BYTES))
        for row in rows:
            yield _read(state, *row)
        tell(len(rows))
        if not after:
            return


def _read(
    state: State,
    member: bytes,
    is_id: int,
    queue: bytes,
    due_ms: int,
    redeliveries: int,
    max_redeliveries: int,
    kind: bytes,
    tags: bytes,
    payload: bytes,
    reason: bytes,
    parked_ms: int,
) -> Exported:
    event_id, is_text = text_of(member) if is_id else id_of(member)
    return Exported(
        id=event_id,
        state=state,
        queue=text_of(queue)[0],
        due_ms=due_ms,
        redeliveries=redeliveries,
        max_redeliveries=max_redeliveries,
        kind=text_of(kind)[0],
        tags=tuple(text_of(tag)[0] for tag in tags.split(BETWEEN_TAGS) if tag),
        payload=payload,
        reason=text_of(reason)[0],
        parked_ms=parked_ms,
        readable=is_text and max_redeliveries >= 0,
    )
