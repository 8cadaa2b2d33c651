"""All that the timer has stored, as one value that tests compare, and the orderly end of all of it."""

import struct
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import redis

from celery_dtimer.timer.events import Delivery, Verdict
from celery_dtimer.timer.storing.shard import Store

EXPIRY_MS = 2000  # of the keys that the timer lets expire

LAYOUT = "{*}:layout"  # stays for ever

_READERS = {
    "hash": lambda client, key: client.hgetall(key),
    "zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
    "list": lambda client, key: client.lrange(key, 0, -1),
    "string": lambda client, key: client.get(key),
}


def snapshot(client: redis.Redis) -> dict[str, Any]:
    """Every key of the database with its value as Redis has it: hashes and sorted sets as dicts.

    But that of the layout, which stays for ever.
    """
    names = sorted(name for name in client.scan_iter(count=1000) if not name.endswith(b":layout"))
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.type(name)
        for name, kind in zip(names, pipe.execute(), strict=True):
            _READERS[kind.decode()](pipe, name)
        values = pipe.execute()
    return {
        name.decode(): dict(value) if isinstance(value, list) and value and isinstance(value[0], tuple) else value
        for name, value in zip(names, values, strict=True)
    }


def forgotten(client: redis.Redis, expected: Sequence[str] = ()) -> list[str]:
    """The timer's keys that match none of the ``expected`` glob patterns, and do not expire within seconds."""
    # -2: it has expired since the scan; -1: it never will.
    lives = {key: client.pttl(key) for key in client.scan_iter(match="{*", count=1000)}
    found = sorted(key.decode(errors="backslashreplace") for key, ms in lives.items() if ms == -1 or ms > EXPIRY_MS)
    return [key for key in found if not any(fnmatchcase(key, pattern) for pattern in (LAYOUT, *expected))]


def contents(client: redis.Redis, prefix: str = "{dt:0}:") -> dict[str, Any]:
    """Every key of the database, the timer's own without their prefix and with their records read.

    For example ``{"events": {"x": [20, "default", b"payload"]}, "due:default": {"x": 1000},
    "promise": {"default": "1000 "}, "wake:default": ["1"]}``.
    """
    read = {}
    for key, value in snapshot(client).items():
        name = key.removeprefix(prefix)
        reader = _RECORDS.get(name.partition(":")[0])
        if name == key or reader is None:
            read[name] = value
        elif isinstance(value, list):
            read[name] = [reader(item) for item in value]
        else:
            read[name] = {shown(field): reader(item) for field, item in value.items()}
    return read


def shown(field: bytes) -> str:
    """A field's name as a text; of a key, the byte behind the id as a bar."""
    return field.decode("latin-1").replace("\xff", "|") if b"\xff" in field else field.decode()


def finish(store: Store, client: redis.Redis) -> None:
    """End every event with the store's own operations, whatever its state: nothing should be left then.

    ``client`` looks for them: the store's own may do only what the store does.
    """
    keys = store.keys
    for event_id in client.hkeys(keys.events):
        store.cancel(event_id.decode())
    # What is in somebody's hands first: the rest of its id can be cancelled then.
    leases = [(key, *_lease(record)) for key, record in client.hgetall(keys.prefix + "leased").items()]
    for key, token, _, _, _, queue, *_ in sorted(leases, key=lambda lease: not lease[1]):
        event_id = key.rpartition(b"\xff")[0].decode()
        if not token:
            store.cancel(event_id)
            continue
        delivery = Delivery(
            id=event_id, payload=b"", queue=queue, due_ms=0, redeliveries=0, max_redeliveries=1, key=key, token=token
        )
        store.ask(store.verdicts(queue, [Verdict(delivery, "confirm")]))
    for key in client.hkeys(keys.prefix + "parked"):
        store.cancel(key.rpartition(b"\xff")[0].decode())
    for field in client.hkeys(keys.prefix + "holds"):
        what, _, name = field.decode().partition(" ")
        if what == "catch_up":
            store.limit("", "", "")
            continue
        (store.resume if what == "queue" else store.resume_kind)(name)
    client.delete(keys.prefix + "bucket")  # or it would expire
    for damaged in store.damaged():
        store.drop_damaged(damaged)


def _event(record: bytes) -> Any:
    return _texts(unpack(record), 1, 4, 5, 6)


def _lease(record: bytes) -> Any:
    token, _, packed = record.partition(b"\n")
    return [token.decode(), *_texts(unpack(packed), 0, 3, 5)]


def _parked(record: bytes) -> Any:
    return _texts(unpack(record), 0, 4, 6, 7)


def _texts(fields: list[Any], *places: int) -> list[Any]:
    return [shown(field) if i in places else field for i, field in enumerate(fields)]


_RECORDS = {
    "events": _event,
    "taken": _event,
    "leased": _lease,
    "parked": _parked,
    "promise": bytes.decode,
    "wake": bytes.decode,
    "due": int,
    "lease": int,
    "deliveries": int,
    "parked_at": int,
    "parked_ids": int,
    "tags": int,
    "damaged": bytes,
    "holds": lambda value: int(value) if b" " not in value else value.decode(),
}

_NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_LENGTHS = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}


def unpack(data: bytes) -> Any:
    """Read what ``cmsgpack.pack`` wrote, as far as the records use it: arrays, strings and numbers."""
    value, end = _unpack(data, 0)
    assert end == len(data)
    return value


def _unpack(data: bytes, at: int) -> tuple[Any, int]:
    head, at = data[at], at + 1
    if head < 0x80:
        return head, at
    if head >= 0xE0:
        return head - 0x100, at
    if head & 0xF0 == 0x90:
        items = []
        for _ in range(head & 0x0F):
            item, at = _unpack(data, at)
            items.append(item)
        return items, at
    if head in _NUMBERS:
        size = struct.calcsize(_NUMBERS[head])
        return struct.unpack_from(_NUMBERS[head], data, at)[0], at + size
    if head & 0xE0 == 0xA0:
        size = head & 0x1F
    else:
        size = struct.unpack_from(_LENGTHS[head], data, at)[0]
        at += struct.calcsize(_LENGTHS[head])
    return data[at : at + size], at + size
