"""The arguments of a post, checked."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from celery_dtimer.timer.checks import check_id, check_kind, check_payload, check_queue, check_tags, kind_of
from celery_dtimer.timer.events import NewEvent
from celery_dtimer.timer.options import MAX_REDELIVERIES
from celery_dtimer.timer.shown import wrong
from celery_dtimer.timer.times import Delay, check_one_time, delay_to_ms, eta_to_ms


@dataclass(frozen=True)
class Post:
    """One event for ``post_many``: the arguments of ``post``, of which ``delay`` or ``eta`` is required."""

    payload: bytes | str
    delay: Delay | None = None
    eta: datetime | None = None
    id: str | None = None
    queue: str | None = None
    max_redeliveries: int | None = None
    kind: str | None = None
    tags: Collection[str] | None = None


def listed(posts: object, wanted: str) -> list[object]:
    """Return the items of a ``post_many``, or raise InvalidEventError if they are none."""
    why: Exception | None = None
    if isinstance(posts, Iterator):
        return list(posts)  # errors of the caller's own generator are the caller's
    if isinstance(posts, Iterable) and not isinstance(posts, str | bytes | Mapping):
        try:
            return list(posts)
        except Exception as exc:  # noqa: BLE001 - whatever it raises that can't be gone through, such as a released buffer
            why = exc
    raise wrong("posts", wanted, posts) from why


def check_posts(posts: object) -> list[Post]:
    """Return the posts of a ``post_many``, or raise InvalidEventError if one of them is none."""
    made = []
    for number, post in enumerate(listed(posts, "a list of Posts, or another iterable of them")):
        if not isinstance(post, Post):
            raise wrong("posts", f"Posts, such as Post(payload, delay=60); number {number} is none", post)
        made.append(post)
    return made


def new_id() -> str:
    """Return the text of a new UUID of version 4, in a third of the time of ``str(uuid.uuid4())``."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:]}"


#: The digit of the variant in place of a random one: its upper two bits are 10.
_VARIANT = {f"{digit:x}": "89ab"[digit % 4] for digit in range(16)}


def new_event(post: Post, *, queue: str, max_redeliveries: int, max_payload: int) -> NewEvent:
    """Return the event that a post describes, with the defaults filled in.

    Raises:
        InvalidEventError: One of its values is wrong.
    """
    check_one_time(post.delay, post.eta)
    return NewEvent(
        id=check_id(post.id) if post.id is not None else new_id(),
        payload=check_payload(post.payload, max_payload),
        clock="at" if post.delay is None else "in",
        when_ms=eta_to_ms(post.eta) if post.delay is None else delay_to_ms(post.delay),
        max_redeliveries=max_redeliveries
        if post.max_redeliveries is None
        else MAX_REDELIVERIES.check(post.max_redeliveries),
        queue=queue if post.queue is None else check_queue(post.queue),
        kind=kind_of(None if post.kind is None else check_kind(post.kind)),
        tags=() if post.tags is None else check_tags(post.tags),
    )
