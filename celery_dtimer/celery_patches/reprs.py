"""The text of a call's arguments, as Celery shows it to monitors: a short way to the same text."""

from collections.abc import Mapping, Sequence
from typing import Any

from celery.utils.saferepr import saferepr

from celery_dtimer.accommodations import accommodates

#: Types whose text is what ``str`` makes of them.
_PLAIN = frozenset((int, float, bool, type(None)))
_CONTAINERS = frozenset((tuple, list, dict))

#: Containers in each other that are written here, whatever Celery's limit is.
MOST_LEVELS = 8


class _OddError(Exception):
    """There is something of which only saferepr knows the text."""


@accommodates("all", remove_when="saferepr takes no longer than repr for plain values")
def shown(arguments: Sequence[Any] | Mapping[str, Any], most: Any, levels: Any) -> str:
    """Return what ``saferepr(arguments, most, maxlevels=levels)`` returns.

    Plain values in tuples, lists and dicts are written here, as long as nothing has to be cut.
    """
    if type(most) is int and (levels is None or (type(levels) is int and levels >= 0)):
        try:
            text = _container(arguments, 0, levels, most)
        except _OddError:
            pass
        else:
            # With one character more, saferepr would begin to cut.
            if len(text) < most:
                return text
    made: str = saferepr(arguments, most, maxlevels=levels)
    return made


def _value(value: Any, level: int, levels: int | None, most: int) -> str:
    kind = type(value)
    if kind is str:
        if len(value) >= most:
            raise _OddError
        escaped: str = value.replace("'", "\\'")
        return f"'{escaped}'"
    if kind in _PLAIN:
        return str(value)
    return _container(value, level, levels, most)


def _container(value: Any, level: int, levels: int | None, most: int) -> str:
    kind = type(value)
    # A container within itself has more levels than any.
    if (levels and level >= levels) or level > MOST_LEVELS or kind not in _CONTAINERS:
        raise _OddError
    parts: list[str] = []
    left = most
    for one in value.items() if kind is dict else value:
        if kind is dict:
            part = f"{_value(one[0], 0, levels, most)}: {_value(one[1], level + 1, levels, most)}"
        else:
            part = _value(one, level + 1, levels, most)
        left -= len(part) + 1
        if left < 0:
            raise _OddError
        parts.append(part)
    text = ", ".join(parts)
    if kind is tuple:
        return f"({text},)" if len(parts) == 1 else f"({text})"
    return f"{{{text}}}" if kind is dict else f"[{text}]"
