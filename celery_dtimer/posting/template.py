"""What the messages of a task have in common: learned from one that Celery has made, and filled in for others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Self

from kombu.entity import Queue

from celery_dtimer.celery_patches.passage import encoder_of, kept_encoder
from celery_dtimer.celery_patches.reprs import shown
from celery_dtimer.message import HEADER_DEFAULTS, ID_PROPERTY, PROPERTY_DEFAULTS, StoredMessage, line_of, packed
from celery_dtimer.timer.checks import kind_of

#: What differs from message to message in the line, beside the id, which is left out: of the arguments ...
REPRS = ("argsrepr", "kwargsrepr")
#: ... and of whoever posts: the thread that results are sent to; the task that runs, and the first one of all.
REPLY_TO, PARENTS = "reply_to", ("root_id", "parent_id")

HOLES = (*REPRS, REPLY_TO, *PARENTS)

#: What may be in a message beside the defaults, and nothing else: somebody has added it, or it is an instant.
OF_TASK = frozenset(("task", "id", "timelimit", "origin", "ignore_result", *REPRS, *PARENTS))
OF_MESSAGE = frozenset((*PROPERTY_DEFAULTS, ID_PROPERTY, REPLY_TO))

#: Stands for one of these in the line that is made a form.
HOLE = "<of one message: {}>"


@dataclass(slots=True)
class Lesson:
    """A call that a template is to be learned from, and what Celery makes of it.

    Attributes:
        body: The body, as the serializer was given it.
        serializer: Its name.
        message: The message.
        payload: The same, as it is stored.
        declared: The entities that Celery would declare.
    """

    body: Any = None
    serializer: str | None = None
    message: StoredMessage | None = None
    payload: bytes = b""
    declared: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """The messages of a task.

    Attributes:
        kind: The task's name, as events have it.
        queue: The queue that they go to, as the app has it.
        exchange: The exchange of that.
        encoder: Makes the body.
        embed: The third part of a body: what is to follow the task.
        forms: The line, to be filled in, by whether the texts of args and kwargs are the defaults, and left out.
        most: Most characters of these texts.
        levels: Containers in each other that they show.
    """

    kind: bytes
    queue: Queue
    exchange: Any
    encoder: Callable[[Any], str | bytes]
    embed: Mapping[str, Any]
    forms: Mapping[tuple[bool, bool], str]
    most: tuple[Any, Any]
    levels: Any

    @classmethod
    def learned(cls, lesson: Lesson, most: tuple[Any, Any], levels: Any) -> Self | None:
        """Return the template of a message; None if the message is not as a template's are."""
        message, body, queue = lesson.message, lesson.body, lesson.declared[0] if lesson.declared else None
        encoder = encoder_of(lesson.serializer)
        if message is None or encoder is None or not isinstance(queue, Queue) or not _is_plain(message, body):
            return None
        if len(lesson.declared) > 1 or (message.exchange, message.routing_key) != ("", queue.name):
            return None
        headers, name = message.headers, message.headers["task"]
        forms = {(a, k): _form(message, queue.name, a, k) for a, k in product((False, True), repeat=2)}
        template = cls(kind_of(name), queue, queue.exchange, kept_encoder(encoder), dict(body[2]), forms, most, levels)
        reply_to, parents = message.properties.get(REPLY_TO) or "", [headers.get(name) or "" for name in PARENTS]
        return template if template.payload(body[0], body[1], reply_to, *parents) == lesson.payload else None

    def payload(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], reply_to: str, root_id: str = "", parent_id: str = ""
    ) -> bytes:
        """Return a message as it is stored.

        Args:
            args: Positional arguments of the task.
            kwargs: Keyword arguments of the task.
            reply_to: Id of the thread that posts, for results.
            root_id: Id of the first task of all, if a task posts.
            parent_id: Id of the task that posts.

        Raises:
            Exception: Whatever the serializer raises.
        """
        texts = shown(args, self.most[0], self.levels), shown(kwargs, self.most[1], self.levels)
        body = self.encoder((args, kwargs, {**self.embed}))
        values = (*texts, reply_to, root_id, parent_id)
        line = self.forms[_are_defaults(texts)] % dict(zip(HOLES, map(quoted, values), strict=True))
        return packed(line, body.encode() if isinstance(body, str) else body)


def _is_plain(message: StoredMessage, body: Any) -> bool:
    """Whether nothing is in a message but what all of the task have, and what a template fills in."""
    headers = message.headers
    return (
        "task" in headers
        and all(
            name in OF_TASK or (name in HEADER_DEFAULTS and headers[name] == HEADER_DEFAULTS[name]) for name in headers
        )
        and OF_MESSAGE.issuperset(message.properties)
        and HOLE.partition("{")[0] not in f"{headers} {message.properties}"
        and isinstance(body, tuple)
        and len(body) == len(("args", "kwargs", "embed"))
        and not any(body[2].values())
    )


def _are_defaults(texts: tuple[str, str]) -> tuple[bool, bool]:
    return texts[0] == HEADER_DEFAULTS[REPRS[0]], texts[1] == HEADER_DEFAULTS[REPRS[1]]


def _form(message: StoredMessage, queue: str, *are_defaults: bool) -> str:
    """Return the line of a message as a format, with a hole for each value that is of this message alone."""
    headers, event_id = dict(message.headers), message.headers["id"]
    for name, is_default in zip(REPRS, are_defaults, strict=True):
        headers[name] = HEADER_DEFAULTS[name] if is_default else HOLE.format(name)
    if headers.get("parent_id") is not None:
        headers.update({name: HOLE.format(name) for name in PARENTS})
    properties = {**message.properties, REPLY_TO: HOLE.format(REPLY_TO)}
    line = line_of(replace(message, headers=headers, properties=properties), event_id, queue).replace("%", "%%")
    for name in HOLES:
        line = line.replace(quoted(HOLE.format(name)), f"%({name})s")
    return line
