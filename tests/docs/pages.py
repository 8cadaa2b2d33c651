"""The pages of the documentation, taken apart: their blocks of code, their headings, their links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

REPOSITORY = Path(__file__).parents[2]
NAMES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "tests/README.md", "example_project/README.md")
DOCS = sorted((REPOSITORY / "docs").rglob("*.md"))
#: All that a reader finds, the README of the repository included.
PAGES = [*DOCS, *(REPOSITORY / name for name in NAMES)]

#: A comment before a Python block that is only to be read.
NOT_RUN = "<!-- not run -->"
#: The beginning of a comment with Python that runs before a block, and that readers are not shown.
GIVEN = "<!-- given\n"
#: Where the pages' examples find their Redis, but for the number of the database.
EXAMPLE_REDIS = "redis://localhost:6379/"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w/]+\.py)\n")
_ANSWER = re.compile(r"^(\S.*?)  # -> (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One block of code: the page that it stands on, the line of its first statement, and its text.

    Attributes:
        page: Name of the page's file.
        line: Number of the line.
        source: The text.
        language: As it stands behind the fence; '' for an indented block, or one without a language.
        is_run: Whether it is Python that the tests run.
        given: Python that runs before it.
    """

    page: str
    line: int
    source: str
    language: str = "python"
    is_run: bool = True
    given: str = ""

    @property
    def file(self) -> str:
        """The name of the file that it is, or nothing: a file is run by a test of its own."""
        found = _FILE.match(self.source)
        return found[1] if found else ""

    def run(self, names: dict[str, Any], redis: str) -> None:
        """Run it in the namespace ``names``, with a Redis in place of the examples'.

        An expression with ``# -> value`` behind it is held against that value, or against its ``repr``.
        """
        exec(self.given.replace(EXAMPLE_REDIS, redis), names)
        source = _ANSWER.sub(lambda found: f"_hold(({found[1]}), {found[2]!r})", self.source)
        source = source.replace(EXAMPLE_REDIS, redis)
        names["_hold"] = lambda value, expected: hold(value, expected, names)
        # The empty lines in front let a traceback name the line of the page.
        exec(compile("\n" * (self.line - 1) + source, self.page, "exec"), names)


def hold(value: Any, expected: str, names: dict[str, Any]) -> None:
    """Compare a value with what a page says of it."""
    if repr(value) == expected:
        return
    try:
        wanted = eval(expected, names)
    except SyntaxError:
        raise AssertionError(f"{value!r} is not {expected}") from None
    assert value == wanted


def all_blocks(page: Path) -> Iterator[Block]:
    """Every block of code of a page."""
    before = ""
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        if token.type in {"fence", "code_block"}:
            language = token.info.strip()
            is_run = language == "python" and before != NOT_RUN
            given = before.removeprefix(GIVEN).removesuffix("-->") if before.startswith(GIVEN) else ""
            line = token.map[0] + (2 if token.type == "fence" else 1)
            yield Block(page.name, line, token.content, language, is_run, given)
        before = token.content.strip() if token.type == "html_block" else ""


def blocks(page: Path) -> list[Block]:
    """The Python blocks of a page, without those marked as not to be run."""
    return [block for block in all_blocks(page) if block.is_run]


def snippets(page: Path) -> list[Block]:
    """The Python blocks of a page that are no files: they run top to bottom, in one namespace."""
    return [block for block in blocks(page) if not block.file]


def files(page: Path) -> dict[str, str]:
    """The Python blocks of a page that are files of a project, by the name in their first line: ``# shop/tasks.py``."""
    return {block.file: block.source for block in blocks(page) if block.file}


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """What a link to a place in the page may end with, as GitHub makes it of the headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    """The links of a page that lead to no file, or to no heading, of the repository."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            yield target
