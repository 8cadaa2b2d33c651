"""The contents of the site: a toctree for each section of docs/index.md, of the pages that its table lists."""

import re
from collections.abc import Iterator

_SECTION = re.compile(r"^## ([^\n]+)$\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| \[([^\]]+)\]\(([\w/-]+)\.md\) \|", re.MULTILINE)


def sections(index: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield each section that lists pages: its heading, and the titles and names of its pages."""
    for heading, text in _SECTION.findall(index):
        pages = _ROW.findall(text)
        if pages:
            yield heading, pages


def with_toctrees(index: str) -> str:
    """Return the first page with a hidden toctree for each section, and without its own headings beside it."""
    toctrees = [
        f"```{{toctree}}\n:hidden:\n:caption: {heading}\n\n"
        + "".join(f"{title} <{name}>\n" for title, name in pages)
        + "```\n"
        for heading, pages in sections(index)
    ]
    return "\n".join(["---\nhide-toc: true\n---", index, *toctrees])
