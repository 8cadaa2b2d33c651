"""Checks of the arguments about an event, its queue or its delivery."""

import getpass
import os
import socket
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import replace

from celery_dtimer.errors import InvalidEventError, PayloadTooLargeError
from celery_dtimer.timer.events import ON_CONFLICT, Delivery
from celery_dtimer.timer.options import choice, text
from celery_dtimer.timer.shown import shown, wrong
from celery_dtimer.timer.times import Delay, max_wait_to_ms

#: Longest kind of an event, in bytes of UTF-8: a longer one is cut.
MAX_KIND_BYTES = 255

#: Most tags of an event, and bytes of UTF-8 of each: each costs as much as another sorted set's member.
MAX_TAGS = 8
MAX_TAG_BYTES = 128

#: The effect of a post on a pending event of the same id.
check_conflict = choice("on_conflict", "error", ON_CONFLICT).check

#: Each returns its argument, or raises InvalidEventError. The longest name of a queue is AMQP's own.
check_id: Callable[[object], str] = text("id", 200).check
check_queue: Callable[[object], str] = text("queue", 255).check
check_name: Callable[[object], str] = text("name", 255).check
check_kind: Callable[[object], str] = text("kind", MAX_KIND_BYTES).check
check_task: Callable[[object], str] = text("task", MAX_KIND_BYTES).check
check_reason: Callable[[object], str] = text("reason", 1000).check
check_why: Callable[[object], str] = text("why", 1000, least=0).check
_check_by: Callable[[object], str] = text("by", 255).check


_TAG = replace(
    text("tag", MAX_TAG_BYTES),
    wanted=f"a string of 1 to {MAX_TAG_BYTES} bytes of UTF-8 without control characters",
)


def check_tag(tag: object) -> str:
    """Return a tag, or raise InvalidEventError."""
    checked: str = _TAG.check(tag)
    if any(unicodedata.category(character) == "Cc" for character in checked):
        raise _TAG.refusal(tag)
    return checked


def check_tags(tags: object) -> tuple[str, ...]:
    """Return the tags of an event, each once, or raise InvalidEventError."""
    wanted = f"a list of at most {MAX_TAGS} tags, or None"
    if tags is None:
        return ()
    if not isinstance(tags, list | tuple | set | frozenset):
        hint = f": for one tag, [{shown(tags)}]" if isinstance(tags, str) else ""
        raise wrong("tags", wanted, tags, hint)
    checked = tuple(dict.fromkeys(check_tag(tag) for tag in tags))
    if len(checked) > MAX_TAGS:
        raise wrong("tags", wanted, tags)
    return checked


def check_queues(queues: object) -> tuple[str, ...]:
    """Return the names of a listener's queues, each once, or raise InvalidEventError."""
    why: Exception | None = None
    names: tuple[object, ...] = ()
    if isinstance(queues, Iterable) and not isinstance(queues, str | bytes):
        try:
            names = tuple(queues)
        except Exception as exc:  # noqa: BLE001 - whatever it raises that can't be gone through, such as a released buffer
            why = exc
    if not names:
        raise wrong("queues", "a list of one or more names", queues) from why
    return tuple(dict.fromkeys(check_queue(name) for name in names))


def check_by(by: object) -> str:
    """Return who holds something, user@host for None, or raise InvalidEventError."""
    if by is None:
        try:
            user = getpass.getuser()
        except (OSError, KeyError):
            user = str(os.getuid())  # of no name, as in many a container
        by = f"{user}@{socket.gethostname()}"
    if len(_check_by(by).splitlines()) > 1:
        raise wrong("by", "one line", by)
    return _check_by(by)


def one_of(**named: object) -> str:
    """Return the name of the only argument that is not None, or raise InvalidEventError."""
    given = [name for name, value in named.items() if value is not None]
    if len(given) == 1:
        return given[0]
    first, *others = named
    raise wrong(first, f"given, or {' or '.join(others)}, and not both", named)


def check_delivery(delivery: object, shards: int) -> Delivery:
    """Return the delivery, or raise InvalidEventError if it is none, or of a shard that is not there."""
    if not isinstance(delivery, Delivery):
        raise wrong("delivery", "the Delivery that the event handler was called with", delivery)
    if not 0 <= delivery.shard < shards:
        wanted = f"of a shard from 0 to {shards - 1}, and this one is another timer's"
        raise wrong("delivery", wanted, delivery)
    return delivery


#: Made once: it takes longer to make than to ask.
_PAYLOADS = (bytes, str, bytearray, memoryview)


def check_payload(payload: object, limit: int, *, limited_by: str = "max_payload") -> bytes:
    """Return the payload as bytes; text is encoded as UTF-8.

    Args:
        payload: The caller's.
        limit: Most bytes of it.
        limited_by: The caller's name for the limit.

    Raises:
        InvalidEventError: It is neither bytes nor text.
        PayloadTooLargeError: It has more than ``limit`` bytes.
    """
    try:
        if not isinstance(payload, _PAYLOADS):
            raise TypeError
        data = payload.encode() if isinstance(payload, str) else bytes(payload)
    except (TypeError, ValueError) as exc:  # half a surrogate pair, or a memoryview that was released
        # Not its repr: a payload may be secret.
        message = f"payload must be bytes or text, got {type(payload).__name__}{f': {exc}' if str(exc) else ''}"
        raise InvalidEventError(message, argument="payload", value=payload) from exc
    if len(data) > limit:
        message = f"the payload has {len(data)} bytes, and {limited_by} allows {limit}"
        raise PayloadTooLargeError(message, size=len(data), limit=limit)
    return data


def kind_of(name: object) -> bytes:
    """Return the kind of events that have a name, such as a task's; of none for None."""
    return ("" if name is None else str(name)).encode(errors="replace")[:MAX_KIND_BYTES]


def check_max_wait(max_wait: Delay | None, on_conflict: str) -> int:
    """Return the bound of a debounce in milliseconds, 0 if there is none, or raise InvalidEventError."""
    if max_wait is None:
        return 0
    if on_conflict != "postpone":
        raise wrong("max_wait", f"used with on_conflict='postpone', not {shown(on_conflict)}", max_wait)
    return max_wait_to_ms(max_wait)
