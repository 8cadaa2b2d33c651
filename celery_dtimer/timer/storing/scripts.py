"""The Lua scripts: one file an operation, each sent to Redis with ``common.lua`` in front of it.

A script's header names the keys that it uses; they are bound to these names here, for it and for the shared code.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

NAMES = (
    "post",
    "claim",
    "verdicts",
    "cancel",
    "change",
    "peek",
    "upcoming",
    "count",
    "replay",
    "parked",
    "drop_old",
    "tagged",
    "sift",
    "hold",
    "forecast",
    "export",
    "limit",
)

#: The parts of a script that are files of their own, put in front of it behind what all scripts share.
PARTS = {"claim": ("bucket", "polling")}

#: The parts of a script that stand before what all scripts share, since they do without.
AHEAD = {"post": ("plain",)}

HEADER = re.compile(r"^-- KEYS ([\w, ]+); due, lease, wake of each queue$", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """One script: its whole source, the SHA-1 that Redis knows it by, and the keys that it uses beside the queues'."""

    name: str
    source: str
    sha: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Call:
    """A script with the keys and the arguments of one call of it."""

    script: Script
    keys: tuple[str, ...]
    args: tuple[Any, ...]


def read(name: str) -> str:
    """Return the text of ``lua/<name>.lua``."""
    return resources.files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8")


@cache
def load(name: str) -> Script:
    """Return the script ``name``, ready to be sent."""
    text = read(name)
    keys = tuple(HEADER.search(text)[1].split(", "))  # type: ignore[index] # a test holds that it is there
    slots = ", ".join(f"KEYS[{i}]" for i in range(1, len(keys) + 1))
    source = (
        f"local FIXED = {len(keys)}\nlocal {', '.join(keys)} = {slots}\n"
        + "".join(map(read, (*AHEAD.get(name, ()), "common", *PARTS.get(name, ()))))
        + text
    )
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest(), keys)
