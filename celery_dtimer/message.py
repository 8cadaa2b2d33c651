"""A Celery message as bytes, and back.

The bytes are the digit 1, one line of JSON, and the body as the serializer made it. The line omits what the reader can
restore: the event's id wherever the message repeats it, and the headers' defaults. A message with one argument has 300
bytes then, instead of 1,100. Or they are the digit 2, and line and body compressed: 100 bytes.
"""

import zlib
from dataclasses import dataclass, field
from typing import Any

from kombu.compression import decompress
from kombu.serialization import loads as deserialize
from kombu.utils.json import dumps, loads

VERSION, COMPRESSED = b"1", b"2"

#: Headers of Celery's message protocol 2 as they are for a plain task (celery/app/amqp.py, as_task_v2).
HEADER_DEFAULTS: dict[str, Any] = {
    "lang": "py",
    "shadow": None,
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "retries": 0,
    "timelimit": [None, None],
    "parent_id": None,
    "argsrepr": "()",
    "kwargsrepr": "{}",
    "ignore_result": False,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
    "stamps": {},
}

#: Headers and properties that mostly say the task's id once more.
ID_HEADERS = ("id", "root_id")
ID_PROPERTY = "correlation_id"

PROPERTY_DEFAULTS: dict[str, Any] = {"delivery_mode": 2, "priority": 0}

CONTENT_TYPE, CONTENT_ENCODING = "application/json", "utf-8"

#: Parts of typical messages, the commonest last: a message is compressed as if it came after this. Writers and readers
#: must have the same text as long as COMPRESSED stays: with a single character more, stored events can't be read.
DICTIONARY = (
    b'"t":"application/x-python-serialize","e":"binary","x":"celery","r":"celery","compression":"application/x-gzip",'
    b'"lang":"py","shadow":"","expires":"2026-01-01T00:00:00+00:00","group":"","group_index":1,"retries":1,'
    b'"timelimit":[null,null],"root_id":"","parent_id":"","ignore_result":true,"replaced_task_nesting":1,'
    b'"stamped_headers":[""],"stamps":{"":[""]},"expiration":"","delivery_mode":1,"priority":9}}\n'
    b'{"callbacks": [{"task": "", "args": [], "kwargs": {}, "options": {"task_id": "", "reply_to": "", "queue": ""}, '
    b'"subtask_type": null, "immutable": false}], "errbacks": null, "chain": [], "chord": null}]'
    b'{"h":{"task":".tasks.","argsrepr":"(\'\',)","kwargsrepr":"{\'_id\': }","origin":"gen1@"},'
    b'"p":{"reply_to":"-4-"}}\n'
    b'[[""], {"": "", "_id": }, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
)

#: Raw deflate with a window of 4 KiB. A compressor with zlib's own defaults takes 60 us to set up, this one 8.
WINDOW_BITS, MEMORY_LEVEL = -12, 4

#: Bytes up to which line and body are compressed, in 0.4 ms at most. Celery's own ``compression`` is for more.
COMPRESS_UP_TO = 16 * 1024

#: Content types whose decoding only reads; pickle's may run code.
READABLE = ("application/json", "application/x-msgpack", "application/x-yaml")

#: Fields of the line besides headers and properties: content type and encoding, exchange and routing key.
TEXTS = ("t", "e", "x", "r")


class UnknownFormatError(ValueError):
    """The bytes are no message that this version of celery-dtimer can read."""


class NewerFormatError(UnknownFormatError):
    """The bytes begin as a message of another version does: a worker that has that version may read them."""


@dataclass(frozen=True)
class StoredMessage:
    """A message as kombu would publish it.

    Attributes:
        body: As the serializer and the compression made it.
        exchange: Where the task would have been published to, with ``routing_key``.
    """

    body: bytes
    content_type: str
    content_encoding: str
    headers: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    exchange: str = ""
    routing_key: str = ""


def encode(message: StoredMessage, event_id: str, queue: str, *, compress: bool = True) -> bytes:
    """Return the message of the event ``event_id`` in ``queue`` as bytes; compressed, if that makes them fewer."""
    return packed(line_of(message, event_id, queue), message.body, compress=compress)


def line_of(message: StoredMessage, event_id: str, queue: str) -> str:
    """Return the line of JSON: all of a message but its body."""
    headers = message.headers
    if "task" in headers:
        headers = {
            name: value
            for name, value in headers.items()
            if not _is_default(HEADER_DEFAULTS, name, value) and not (name in ID_HEADERS and value == event_id)
        }
    properties = {
        name: value
        for name, value in message.properties.items()
        if not _is_default(PROPERTY_DEFAULTS, name, value) and not (name == ID_PROPERTY and value == event_id)
    }
    line: dict[str, Any] = {"h": headers, "p": properties}
    if message.content_type != CONTENT_TYPE:
        line["t"] = message.content_type
    if message.content_encoding != CONTENT_ENCODING:
        line["e"] = message.content_encoding
    if message.exchange:
        line["x"] = message.exchange
    if message.routing_key != queue:
        line["r"] = message.routing_key
    return str(dumps(line, separators=(",", ":")))


def packed(line: str, body: bytes, *, compress: bool = True) -> bytes:
    """Return line and body as they are stored; compressed, if that makes them fewer bytes."""
    content = line.encode() + b"\n" + body
    if compress and len(content) <= COMPRESS_UP_TO:
        deflated = _deflate(content)
        if len(deflated) < len(content):
            return COMPRESSED + deflated
    return VERSION + content


def _deflate(content: bytes) -> bytes:
    compressor = zlib.compressobj(
        zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, WINDOW_BITS, MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY, DICTIONARY
    )
    return compressor.compress(content) + compressor.flush()


def _inflate(deflated: bytes) -> bytes:
    decompressor = zlib.decompressobj(WINDOW_BITS, DICTIONARY)
    # A byte more than there may be, so that longer content does not reach its end.
    content = decompressor.decompress(deflated, COMPRESS_UP_TO + 1)
    if not decompressor.eof or decompressor.unused_data or len(content) > COMPRESS_UP_TO:
        raise ValueError("cut off, too long, or followed by something else")
    return content


def _is_default(defaults: dict[str, Any], name: str, value: Any) -> bool:
    """Whether the reader has this value without being told; 0, 0.0 and False are equal, and three values."""
    return name in defaults and defaults[name] == value and type(defaults[name]) is type(value)


def decode(payload: bytes, event_id: str, queue: str) -> StoredMessage:
    """Return the message of the event ``event_id`` in ``queue``.

    Raises:
        NewerFormatError: The payload is none of this version.
        UnknownFormatError: It is none that ``encode`` made, of any version.
    """
    version = payload[:1]
    if version not in (VERSION, COMPRESSED):
        # A version is a digit, as long as there are some left.
        kind = NewerFormatError if version.isdigit() else UnknownFormatError
        raise kind(f"the stored message has the unknown version {version!r}")
    try:
        content = _inflate(payload[1:]) if version == COMPRESSED else payload[1:]
        head, found, body = content.partition(b"\n")
        line = loads(head)
        headers, properties = line["h"], line["p"]
        if not found or not isinstance(headers, dict) or not isinstance(properties, dict):
            raise TypeError("no headers")
        if not all(isinstance(line.get(name, ""), str) for name in TEXTS):
            raise TypeError("no texts")
    except Exception as exc:
        raise UnknownFormatError(f"the stored message can't be read: {type(exc).__name__}: {exc}") from exc
    if "task" in headers:
        # Copies: the worker writes into some of them.
        defaults = {**HEADER_DEFAULTS, "timelimit": [None, None], "stamps": {}}
        headers = {**defaults, **dict.fromkeys(ID_HEADERS, event_id), **headers}
    return StoredMessage(
        body=body,
        content_type=line.get("t", CONTENT_TYPE),
        content_encoding=line.get("e", CONTENT_ENCODING),
        headers=headers,
        properties={**PROPERTY_DEFAULTS, ID_PROPERTY: event_id, **properties},
        exchange=line.get("x", ""),
        routing_key=line.get("r", queue),
    )


def readable_body(message: StoredMessage) -> Any:
    """Return what the body of a message has, if its decoding only reads.

    Raises:
        Exception: Any: the body is pickled, or whatever a decoder raises for a hostile one.
    """
    body = message.body
    if "compression" in message.headers:
        body = decompress(body, message.headers["compression"])
    return deserialize(body, message.content_type, message.content_encoding, accept=READABLE)
