"""What an event's stored message says outside of its arguments, and its payload in a bounded, harmless form."""

import json
import zlib
from collections.abc import Iterator

from celery.utils.saferepr import saferepr
from kombu.serialization import loads as deserialize

from celery_dtimer import message
from celery_dtimer.posting.task_events import TaskInfo
from celery_dtimer.timer.legible import legible
from celery_dtimer.web.showing import number

#: Headers that say where a task came from, and what they are called.
HEADERS = {
    "origin": "Posted by",
    "retries": "Retries",
    "parent_id": "Called by task",
    "root_id": "First task of the chain",
    "group": "Group",
    "expires": "Expires",
}

#: Characters of a payload that are shown, and bytes of one that is unpacked.
MOST_SHOWN, MOST_UNPACKED = 20_000, 1024 * 1024

#: Compressions that are undone here, in bounds: content type -> window bits of zlib.
COMPRESSIONS = {"application/x-gzip": zlib.MAX_WBITS | 32}


def facts(info: TaskInfo) -> list[tuple[str, str]]:
    """Return what is stored of an event's way here, as names and texts."""
    return list(_facts(info))


def _facts(info: TaskInfo) -> Iterator[tuple[str, str]]:
    try:
        stored = message.decode(info.payload, info.id, info.queue)
    except message.UnknownFormatError as exc:
        yield "Message", legible(exc)
        return
    for name, called in HEADERS.items():
        value = stored.headers.get(name)
        if value and not (name == "root_id" and value == info.id):
            yield called, legible(value)
    yield "Content type", legible(stored.content_type)
    yield "Stored size", f"{number(len(info.payload))} bytes"


def payload_of(info: TaskInfo) -> tuple[str, str]:
    """Return an event's payload as text, and a remark: what is pickled, or packed in other ways, is not opened."""
    try:
        stored = message.decode(info.payload, info.id, info.queue)
        body, packed = stored.body, stored.headers.get("compression")
        if packed:
            if packed not in COMPRESSIONS:
                return "", f"It is compressed as {legible(packed)}, and is not opened here."
            opener = zlib.decompressobj(COMPRESSIONS[packed])
            body = opener.decompress(body, MOST_UNPACKED)
            if opener.unconsumed_tail:
                return "", f"It has more than {MOST_UNPACKED:,} bytes, and is not opened here."
        if stored.content_type == "application/json":
            text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
        elif stored.content_type == "application/x-msgpack":
            decoded = deserialize(body, stored.content_type, stored.content_encoding, accept=[stored.content_type])
            text = saferepr(decoded, maxlen=MOST_SHOWN)
        else:
            return "", f"It is {legible(stored.content_type)}, and is not decoded here: that might run code."
    except Exception as exc:  # noqa: BLE001 - a hostile body may raise anything
        return "", f"It can't be read: {legible(exc)}"
    cut = text[:MOST_SHOWN]
    lines = "\n".join(legible(line, MOST_SHOWN) for line in cut.split("\n"))
    return lines, f"Cut at {MOST_SHOWN:,} of {len(text):,} characters." if len(text) > MOST_SHOWN else ""
