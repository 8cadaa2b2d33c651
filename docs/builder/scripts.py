"""The Lua scripts and the records in Redis, as the headers of the scripts describe them."""

import re

from celery_dtimer.timer.storing.scripts import NAMES, read


def _header(name: str) -> list[str]:
    """Return the comment at the top of a script, without its dashes."""
    lines = []
    for line in read(name).splitlines():
        if not line.startswith("--"):
            break
        lines.append(line[2:].removeprefix(" "))
    return lines


def headers() -> str:
    """Return a section for each script: what it does, and its header."""
    parts = []
    for name in NAMES:
        first, *rest = _header(name)
        parts.append(f"### {name}\n\n{first.partition(': ')[2].capitalize()}\n\n```text\n{_text(rest)}\n```\n")
    return "\n".join(parts)


def records() -> str:
    """Return what each key holds, as the shared script has it."""
    text = "\n".join(_header("common"))
    found = re.search(r"^  events .*?(?=^\S)", text, re.MULTILINE | re.DOTALL)
    return f"```text\n{_text((found[0] if found else text).splitlines())}\n```"


def _text(lines: list[str]) -> str:
    return "\n".join(lines).strip("\n")
