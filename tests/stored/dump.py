"""All keys of a Redis as JSON, whatever server wrote them, and back."""

import json
from pathlib import Path
from typing import Any

import redis

HERE = Path(__file__).parent

#: One file a release, made by make.py before it.
RELEASES = sorted(HERE.glob("*.json"))


def text(data: bytes) -> str:
    """Bytes as a text of as many characters."""
    return data.decode("latin-1")


def dump(client: redis.Redis) -> dict[str, list[Any]]:
    """Every key that stays: ``{key: [type, value]}``."""
    return {text(key): read(client, key) for key in sorted(client.scan_iter()) if client.pttl(key) == -1}


def read(client: redis.Redis, key: bytes) -> list[Any]:
    """One key's type and value."""
    match kind := text(client.type(key)):
        case "hash":
            return [kind, {text(field): text(value) for field, value in sorted(client.hgetall(key).items())}]
        case "zset":
            return [kind, {text(member): score for member, score in client.zrange(key, 0, -1, withscores=True)}]
        case "list":
            return [kind, [text(item) for item in client.lrange(key, 0, -1)]]
        case _:
            return [kind, text(client.get(key))]


def load(client: redis.Redis, dumped: dict[str, list[Any]]) -> None:
    """Write them as they were."""
    for name, (kind, value) in dumped.items():
        key = name.encode("latin-1")
        if kind == "hash":
            client.hset(key, mapping={field.encode("latin-1"): item.encode("latin-1") for field, item in value.items()})
        elif kind == "zset":
            client.zadd(key, {member.encode("latin-1"): score for member, score in value.items()})
        elif kind == "list":
            client.rpush(key, *(item.encode("latin-1") for item in value))
        else:
            client.set(key, value.encode("latin-1"))


def kept(file: Path) -> dict[str, Any]:
    """What make.py wrote: ``keys``, and ``counts`` by namespace."""
    return json.loads(file.read_text("utf-8"))
