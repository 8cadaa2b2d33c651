"""The Lua scripts: one file an operation, each sent to Redis with ``common.lua`` in front of it."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

NAMES = (
    "post",
    "claim",
    "confirm",
    "renew",
    "release",
    "park",
    "cancel",
    "change",
    "peek",
    "upcoming",
    "count",
    "replay",
    "shards",
)


@dataclass(frozen=True)
class Script:
    """One script: its whole source and the SHA-1 that Redis knows it by."""

    name: str
    source: str
    sha: str


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
    source = read("common") + read(name)
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
