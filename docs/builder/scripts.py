"""The Lua scripts and the records in Redis, as the headers of the scripts describe them."""

import re
from collections.abc import Iterator
from importlib import resources

from celery_dtimer.timer.storing.scripts import NAMES, PARTS

_FOLDER = resources.files("celery_dtimer.timer.storing").joinpath("lua")

_ARGUMENT = re.compile(r"ARGV\[(\d+)\] (\w+) +(\w+)(?: +(.*))?$")
_GROUP = re.compile(r"ARGV\[(\d+)\.\.\] (.*)$")
_KEY = re.compile(r"  (\w+(?:, \w+)?) {2,}(hash|zset|list|string) +(.*)$")


def headers() -> str:
    """Return a section for each script: what it does, its keys, its arguments, its reply and its cost."""
    return "\n".join(_section(name) for name in NAMES)


def records() -> str:
    """Return a table of what each key holds, as the scripts that all others share have it."""
    found: dict[str, list[str]] = {}
    for name in ("common", *(part for parts in PARTS.values() for part in parts)):
        found |= _records(name)
    rows = [[f"`{key}`".replace(", ", "`, `"), kind, _safe(text)] for key, (kind, text) in found.items()]
    return _table(["key", "type", "what is in it"], rows)


def _records(name: str) -> dict[str, list[str]]:
    """Return the keys that the header of a script describes: their names, and the type and the text of each."""
    found: dict[str, list[str]] = {}
    last: list[str] | None = None
    for line in _header(name):
        if key := _KEY.match(line):
            last = found[key[1]] = [key[2], key[3]]
        elif last and line.startswith("     "):
            last[1] += " " + line.strip()
        else:
            last = None
    return found


def _section(name: str) -> str:
    """Return the section of one script."""
    parts: dict[str, str] = {}
    arguments: list[list[str]] = []
    first, *rest = _paragraphs(_header(name))
    for text in rest:
        if found := _ARGUMENT.match(text):
            number, argument, kind, meaning = found.groups()
            arguments.append([number, f"`{argument}`", kind, _safe(meaning or "")])
        elif found := _GROUP.match(text):
            names, _, said = found[2].partition("  ")
            kinds, _, meaning = said.partition(": one group ")
            arguments.append([f"{found[1]}, ...", f"`{names}`", _safe(kinds), _safe(f"one group {meaning}")])
        else:
            what, _, said = text.partition(" " if text.startswith("KEYS") else ": ")
            parts[what] = _safe(said.replace(" of each queue ", " of each queue. "))
    table = _table(["ARGV", "name", "type", "meaning"], arguments) if arguments else ""
    said = [f"**{title}**: {parts[what]}" for what, title in _PARTS.items() if what in parts]
    heading = f"### {name}\n\n{_safe(_sentence(first.partition(': ')[2]))}"
    return "\n\n".join([heading, said[0], *([table] if table else []), *said[1:]]) + "\n"


#: What a header has beside its arguments, as the site calls it.
_PARTS = {"KEYS": "Keys", "reply": "Reply", "cost": "Cost"}


def _header(name: str) -> Iterator[str]:
    """Yield the lines of the comment at the top of a script, without their dashes."""
    for line in _FOLDER.joinpath(f"{name}.lua").read_text("utf-8").splitlines():
        if not line.startswith("--"):
            return
        yield line[2:].removeprefix(" ")


def _paragraphs(lines: Iterator[str]) -> list[str]:
    """Return the parts of a header, each in a line: what is indented goes on."""
    parts: list[str] = []
    for line in lines:
        if line.startswith(" ") and parts:
            parts[-1] += ("  " if _GROUP.fullmatch(parts[-1]) and "  " not in parts[-1] else " ") + line.strip()
        elif line:
            parts.append(line)
    return parts


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a table of Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _safe(text: str) -> str:
    """Return a text in which no character means anything to Markdown, but the ticks around code."""
    return re.sub(r"([\\*_\[\]<>|])", r"\\\1", text) if "`" not in text else text.replace("|", "\\|")
