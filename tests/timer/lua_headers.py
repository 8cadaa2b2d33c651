"""Hold the header of a Lua script against its body, and both against the calls that Python makes of it.

A header names the keys that the script uses, every ARGV slot with its type or unit, the reply and the cost::

    -- change: move an event that waits to another instant.
    --
    -- KEYS events, leased, deliveries, promise; due, lease, wake of each queue
    -- ARGV[1] id              string
    -- ARGV[2..] key, token
    --         string, string: one group a delivery
    -- reply: the new due_ms
    -- cost: O(log N)
"""

import re
from dataclasses import dataclass, field
from typing import Any

from celery_dtimer.timer.storing.scripts import HEADER, PARTS, read

COMMANDS = {"hash": "H", "zset": "Z", "list": "LR", "string": "GS"}
NUMBERS = ("ms", "us", "count")
ARG_TYPES = (*NUMBERS, "string", "bytes")
ANY_TYPE = ("EXISTS", "DEL", "PEXPIRE")
OF_A_QUEUE = ("due", "lease", "wake")


@dataclass(frozen=True)
class Slot:
    """One ARGV slot: its name, its type or unit, and whether an empty string may stand in it."""

    name: str
    type: str
    may_be_empty: bool = False


@dataclass
class Header:
    """What the header of one script says; the fixed slots of ARGV, and the groups that follow them."""

    name: str = ""
    keys: tuple[str, ...] = ()
    fixed: list[Slot] = field(default_factory=list)
    tail: list[Slot] = field(default_factory=list)
    reply: bool = False
    cost: bool = False
    problems: list[str] = field(default_factory=list)

    def named(self, count: int) -> list[Slot]:
        """The slots of a call with so many arguments; empty if there can be no such call."""
        groups, rest = divmod(count - len(self.fixed), len(self.tail) or 1)
        if groups < 0 or rest or (groups and not self.tail):
            return []
        return self.fixed + self.tail * groups


def split(source: str) -> tuple[list[str], str]:
    """The lines of the header without their dashes, and the body without comments."""
    lines = source.splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("--")), len(lines))
    body = "\n".join(re.sub(r"(^|\s)--.*", "", line) for line in lines[end:])
    return [line[2:] for line in lines[:end]], body


def parse(source: str) -> Header:
    """Read the header of a script."""
    lines, _ = split(source)
    header = Header()
    if lines and (first := re.match(r" (\w+): \S", lines[0])):
        header.name = first[1]
    else:
        header.problems.append("the first line is not '-- name: what'")
    if keys := HEADER.search(source):
        header.keys = tuple(keys[1].split(", "))
    else:
        header.problems.append("there are no keys")
    for line, below in zip(lines[1:], [*lines[2:], ""], strict=True):
        if line.startswith(" reply: "):
            header.reply = True
        elif line.startswith(" cost: "):
            header.cost = True
        elif slot := re.match(r" ARGV\[(\d+)(\.\.)?\] (.*)", line):
            _read_slot(header, int(slot[1]), slot[3], below if slot[2] else None)
    if not header.reply:
        header.problems.append("there is no reply")
    if not header.cost:
        header.problems.append("there is no cost")
    return header


def _read_slot(header: Header, number: int, text: str, types: str | None) -> None:
    if header.tail or number != len(header.fixed) + 1:
        header.problems.append(f"ARGV[{number}] is out of order")
    if types is None:
        name, kind, *note = text.split(maxsplit=2)
        new = [Slot(name, kind, may_be_empty="''" in "".join(note))]
        header.fixed += new
    else:
        kinds = [part.split()[0] for part in types.partition(":")[0].split(",") if part.split()]
        names = text.split(", ")
        if len(kinds) != len(names):
            header.problems.append(f"ARGV[{number}..] has {len(names)} names and {len(kinds)} types")
        new = [Slot(*each) for each in zip(names, kinds, strict=False)]
        header.tail += new
    for slot in new:
        if slot.type not in ARG_TYPES:
            header.problems.append(f"ARGV {slot.name} has the unknown type {slot.type}")
        if (slot.type == "ms") != slot.name.endswith("_ms"):
            header.problems.append(f"ARGV {slot.name} is of type {slot.type}")


def check(file: str, source: str, types: dict[str, str]) -> list[str]:
    """Say where the body of ``file``.lua and its header differ; an empty list is a script in order.

    Args:
        file: Name of the script's file, without its suffix.
        source: Its text.
        types: Types of all keys by their names.
    """
    header = parse(source)
    _, body = split(source)
    problems = list(header.problems)
    if header.name != file:
        problems.append(f"the header's name is {header.name!r}, and the file's {file!r}")
    expected = [(slot.name, str(i), _number(slot)) for i, slot in enumerate(header.fixed, 1)]
    bound, rest = _bindings(body)
    if bound != expected:
        problems.append(f"ARGV: the header says {expected}, and the top of the body {bound}")
    if "KEYS" in body:
        problems.append("KEYS is used, and not the names of the keys")
    problems += _key_problems(file, header.keys, body, types)
    problems += _tail_problems(header, rest)
    return problems + check_commands(body, types)


def _key_problems(file: str, keys: tuple[str, ...], body: str, types: dict[str, str]) -> list[str]:
    """Say which keys are named and not used, or used and not named, by a body and what it calls."""
    shared = "\n".join(split(read(name))[1] for name in ("common", *PARTS.get(file, ())))
    functions = dict(re.findall(r"^local function (\w+)(.*?)(?=^local function|\Z)", shared, re.MULTILINE | re.DOTALL))
    text, seen = body, set()
    while called := {name for name in functions if name not in seen and re.search(rf"\b{name}\(", text)}:
        seen |= called
        text += "".join(functions[name] for name in called)
    plain = re.sub(r"'[^']*'", "''", re.sub(r"\.\w+", "", text))
    problems = [f"unknown key {name}" for name in keys if name not in types]
    for name in set(types) - set(OF_A_QUEUE) - {"layout", "wait"}:
        used = re.search(rf"\b{name}\b(?!\s*=)", plain) is not None
        own = re.search(rf"local (\w+, )*{name}\b", body) is not None
        if used and name not in keys and not own:
            problems.append(f"{name} is used, and not named")
        if name in keys and not used:
            problems.append(f"{name} is named, and not used")
    return problems


def _number(slot: Slot) -> bool:
    return slot.type in NUMBERS and not slot.may_be_empty


def _bindings(body: str) -> tuple[list[tuple[str, str, bool]], str]:
    """The bindings (name, slot, whether a number) that stand at the top, and what comes after."""
    found = []
    lines = body.lstrip("\n").splitlines()
    while lines and (match := re.fullmatch(r"local (\w+) = (tonumber\()?ARGV\[(\d+)\](?(2)\))\s*", lines[0])):
        found.append((match[1], match[3], bool(match[2])))
        del lines[0]
    return found, "\n".join(lines)


def _tail_problems(header: Header, rest: str) -> list[str]:
    uses = re.findall(r"(?<!#)\bARGV\b(?:\[[^\]]*\])?", rest)
    if not header.tail:
        return [f"{use} is used below the top of the body" for use in uses]
    start, stride = len(header.fixed) + 1, len(header.tail)
    if not re.search(rf"for i = {start}, #ARGV, {stride} do", rest):
        return [f"ARGV: no loop starts at {start} and goes by {stride}"]
    offsets = [f"ARGV[i{f' + {i}' if i else ''}]" for i in range(stride)]
    values = ", ".join(
        f"tonumber({offset})" if _number(slot) else offset for slot, offset in zip(header.tail, offsets, strict=True)
    )
    names = ", ".join(slot.name for slot in header.tail)
    if f"local {names} = {values}" not in re.sub(r"\s+", " ", rest):
        return [f"ARGV: the groups are not bound as {names} = {values}"]
    return []


def check_commands(body: str, types: dict[str, str]) -> list[str]:
    """Say which command of a body does not go with the type of the key that it names."""
    problems = []
    for command, key in re.findall(r"redis\.call\('(\w+)', ([^,)]+)", body):
        name = key.strip().rpartition(".")[2].rpartition("]")[2]
        kind = types.get(name)
        if kind and command not in ANY_TYPE and command[0] not in COMMANDS[kind]:
            problems.append(f"{command} on {name}, which is a {kind}")
    return problems


def check_call(source: str, keys: tuple[str, ...], args: tuple[Any, ...], prefix: str) -> list[str]:
    """Say where one call that Python made differs from the header of the script that it calls."""
    header = parse(source)
    slots = header.named(len(args))
    problems = []
    sent = [key.removeprefix(prefix).partition(":")[0] for key in keys]
    groups = (len(sent) - len(header.keys)) // len(OF_A_QUEUE)
    if sent != [*header.keys, *OF_A_QUEUE * groups]:
        problems.append(f"{header.name}: the keys are {sent}, and the header has {header.keys}")
    if not slots:
        problems.append(f"{header.name}: {len(args)} arguments do not fit the header")
    for slot, value in zip(slots, args, strict=False):
        fits = {"string": str | bytes, "bytes": bytes}.get(slot.type, int)
        if not isinstance(value, fits) and not (slot.may_be_empty and value == ""):
            problems.append(f"{header.name}: {slot.name} is of type {slot.type}, not {value!r}")
    return problems
