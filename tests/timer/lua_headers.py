"""Hold the header of a Lua script against its body, and both against the calls that Python makes of it.

A header names every KEYS and ARGV slot, its type or unit, the reply and the cost::

    -- renew: put the lapse of leases off.
    --
    -- KEYS[1] leased          hash    lease key -> lease record
    -- ARGV[1] lease_ms        ms      the leases lapse that long from now
    -- ARGV[2..] key, token
    --         string, string: one group a delivery
    -- reply: array of integers, one a delivery
    -- cost: O(log N) a delivery
"""

import re
from dataclasses import dataclass, field
from typing import Any

KEY_TYPES = {"hash": "H", "zset": "Z", "list": "LR", "string": "GS"}
NUMBERS = ("ms", "us", "count")
ARG_TYPES = (*NUMBERS, "string", "bytes")
ANY_TYPE = ("EXISTS", "DEL", "PEXPIRE")


@dataclass(frozen=True)
class Slot:
    """One KEYS or ARGV slot: its name, its type or unit, and whether an empty string may stand in it."""

    name: str
    type: str
    may_be_empty: bool = False


@dataclass
class Slots:
    """The KEYS, or the ARGV, of one script: the fixed slots, and the groups that follow them."""

    fixed: list[Slot] = field(default_factory=list)
    tail: list[Slot] = field(default_factory=list)

    def named(self, count: int) -> list[Slot]:
        """The slots of a call with so many operands; empty if there can be no such call."""
        groups, rest = divmod(count - len(self.fixed), len(self.tail) or 1)
        if groups < 0 or rest or (groups and not self.tail):
            return []
        return self.fixed + self.tail * groups


@dataclass
class Header:
    """What the header of one script says."""

    name: str = ""
    slots: dict[str, Slots] = field(default_factory=lambda: {"KEYS": Slots(), "ARGV": Slots()})
    reply: bool = False
    cost: bool = False
    problems: list[str] = field(default_factory=list)


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
    for line, below in zip(lines[1:], [*lines[2:], ""], strict=True):
        if line.startswith(" reply: "):
            header.reply = True
        elif line.startswith(" cost: "):
            header.cost = True
        elif slot := re.match(r" (KEYS|ARGV)\[(\d+)(\.\.)?\] (.*)", line):
            _read_slot(header, slot[1], int(slot[2]), slot[4], below if slot[3] else None)
    if not header.reply:
        header.problems.append("there is no reply")
    if not header.cost:
        header.problems.append("there is no cost")
    return header


def _read_slot(header: Header, table: str, number: int, text: str, types: str | None) -> None:
    slots = header.slots[table]
    if slots.tail or number != len(slots.fixed) + 1:
        header.problems.append(f"{table}[{number}] is out of order")
    if types is None:
        name, kind, *note = text.split(maxsplit=2)
        slots.fixed.append(Slot(name, kind, may_be_empty="''" in "".join(note)))
    else:
        kinds = [part.split()[0] for part in types.partition(":")[0].split(",") if part.split()]
        names = text.split(", ")
        if len(kinds) != len(names):
            header.problems.append(f"{table}[{number}..] has {len(names)} names and {len(kinds)} types")
        slots.tail += map(Slot, names, kinds)
    for slot in (slots.fixed[-1:], slots.tail)[types is not None]:
        if slot.type not in (KEY_TYPES if table == "KEYS" else ARG_TYPES):
            header.problems.append(f"{table} {slot.name} has the unknown type {slot.type}")
        if (slot.type == "ms") != slot.name.endswith("_ms"):
            header.problems.append(f"{table} {slot.name} is of type {slot.type}")


def check(file: str, source: str, types: dict[str, str]) -> list[str]:
    """Say where the body of ``file``.lua and its header differ; an empty list is a script in order.

    Args:
        file: Name of the script's file, without its suffix.
        source: Its text.
        types: Types of the keys by their names in all scripts; the header's own go before them.
    """
    header = parse(source)
    _, body = split(source)
    problems = list(header.problems)
    if header.name != file:
        problems.append(f"the header's name is {header.name!r}, and the file's {file!r}")
    top, rest = _bindings(body)
    for table, slots in header.slots.items():
        expected = [(slot.name, str(i), _number(slot)) for i, slot in enumerate(slots.fixed, 1)]
        bound = [binding[1:] for binding in top if binding[0] == table]
        if bound != expected:
            problems.append(f"{table}: the header says {expected}, and the top of the body {bound}")
        problems += _tail_problems(table, slots, rest)
    own = {slot.name: slot.type for slot in header.slots["KEYS"].fixed + header.slots["KEYS"].tail}
    return problems + check_commands(body, types | own)


def _number(slot: Slot) -> bool:
    return slot.type in NUMBERS and not slot.may_be_empty


def _bindings(body: str) -> tuple[list[tuple[str, str, str, bool]], str]:
    """The bindings (table, name, slot, whether a number) that stand at the top, and what comes after."""
    found = []
    lines = body.lstrip("\n").splitlines()
    while lines and (match := re.fullmatch(r"local (\w+) = (tonumber\()?(KEYS|ARGV)\[(\d+)\](?(2)\))\s*", lines[0])):
        found.append((match[3], match[1], match[4], bool(match[2])))
        del lines[0]
    return found, "\n".join(lines)


def _tail_problems(table: str, slots: Slots, rest: str) -> list[str]:
    uses = re.findall(rf"(?<!#)\b{table}\b(?:\[[^\]]*\])?", rest)
    if not slots.tail:
        return [f"{use} is used below the top of the body" for use in uses]
    start, stride = len(slots.fixed) + 1, len(slots.tail)
    # To the last whole group: a key that is in none may stand behind them.
    loop = re.search(rf"for i = {start}, #{table}(?: - {stride - 1})?, {stride} do", rest)
    if loop:
        offsets = [f"{table}[i{f' + {i}' if i else ''}]" for i in range(stride)]
    elif stride == 1:
        # Walked beside another tail, by the number of the group.
        offsets = [f"{table}[{start} + number]"]
    else:
        return [f"{table}: no loop starts at {start} and goes by {stride}"]
    values = ", ".join(
        f"tonumber({offset})" if _number(slot) else offset for slot, offset in zip(slots.tail, offsets, strict=True)
    )
    names = ", ".join(slot.name for slot in slots.tail)
    problems = []
    if f"local {names} = {values}" not in re.sub(r"\s+", " ", rest):
        problems.append(f"{table}: the groups are not bound as {names} = {values}")
    if len(uses) != stride:
        problems.append(f"{table}: used {len(uses)} times below the top, where {stride} are named")
    return problems


def check_commands(body: str, types: dict[str, str]) -> list[str]:
    """Say which command of a body does not go with the type of the key that it names."""
    problems = []
    for command, key in re.findall(r"redis\.call\('(\w+)', ([^,)]+)", body):
        built = re.match(r"prefix \.\. '(\w+):'", key)
        name = built[1] if built else key.strip()
        kind = types.get(name) or types.get(name.rpartition("_")[2])
        if kind in KEY_TYPES and command not in ANY_TYPE and command[0] not in KEY_TYPES[kind]:
            problems.append(f"{command} on {name}, which is a {kind}")
    return problems


def check_call(source: str, keys: tuple[str, ...], args: tuple[Any, ...], prefix: str) -> list[str]:
    """Say where one call that Python made differs from the header of the script that it calls."""
    header = parse(source)
    names = header.slots["KEYS"].named(len(keys))
    slots = header.slots["ARGV"].named(len(args))
    problems = []
    sent = [key.removeprefix(prefix).partition(":")[0] for key in keys]
    if sent != [slot.name for slot in names]:
        problems.append(f"{header.name}: the keys are {sent}, and the header has {names}")
    if not slots:
        problems.append(f"{header.name}: {len(args)} arguments do not fit the header")
    for slot, value in zip(slots, args, strict=False):
        fits = {"string": str, "bytes": bytes}.get(slot.type, int)
        if not isinstance(value, fits) and not (slot.may_be_empty and value == ""):
            problems.append(f"{header.name}: {slot.name} is of type {slot.type}, not {value!r}")
    return problems
