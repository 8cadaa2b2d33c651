"""The contents of the site: a toctree for each section of docs/index.md, of the pages that its table lists."""

import re
from collections.abc import Iterator

_PART = re.compile(r"^(##+) ([^\n]+)$\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| \[([^\]]+)\]\(([\w/-]+)\.md\) \|", re.MULTILINE)


def sections(index: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield each section that lists pages: its heading, behind that above it, and the titles and names of its pages."""
    above = ""
    for level, heading, text in _PART.findall(index):
        above = heading if level == "##" else above
        if pages := _ROW.findall(text):
            yield heading if level == "##" else f"{above}: {heading.lower()}", pages


def with_toctrees(index: str) -> str:
    """Return the first page with a hidden toctree for each section, and without its own headings beside it."""
    toctrees = [
        f"```{{toctree}}\n:hidden:\n:caption: {heading}\n\n"
        + "".join(f"{title} <{name}>\n" for title, name in pages)
        + "```\n"
        for heading, pages in sections(index)
    ]
    return "\n".join(["---\nhide-toc: true\n---", index, *toctrees])
