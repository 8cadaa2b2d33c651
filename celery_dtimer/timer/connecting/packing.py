"""Calls of scripts as Redis reads them; the part that is the same from call to call is encoded once."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any


def packed(command: Sequence[Any]) -> bytes | None:
    """Return a call of a script, with the keys in front, as it is sent.

    Args:
        command: ``"EVALSHA"``, the script's SHA-1, the number of keys, the keys, the arguments.

    Returns:
        Byte for byte what redis-py makes of it with its default encoding; None for another command, and for arguments
        that are left to redis-py.
    """
    if command[0] != "EVALSHA":
        return None
    end = 3 + command[2]
    parts = [b"*%d\r\n" % len(command), _head(tuple(command[:end]))]
    for arg in command[end:]:
        kind = type(arg)
        if kind is bytes:
            data = arg
        elif kind is str:
            data = arg.encode()
        elif kind is int:
            data = b"%d" % arg
        else:
            return None
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


@lru_cache(maxsize=512)
def _head(parts: tuple[Any, ...]) -> bytes:
    """Return the part of a call that is the same each time: a script and the keys of some queues."""
    encoded = (part if isinstance(part, bytes) else str(part).encode() for part in parts)
    return b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in encoded)
