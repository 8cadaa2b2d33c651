"""Files outside this folder that have a page of the site, and the links to them."""

import os.path
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
REPOSITORY = DOCS.parent

#: A page of the site, and the file of the repository that it shows. The page itself only links to the file.
SHOWN = {
    "project/changelog": "CHANGELOG.md",
    "project/contributing": "CONTRIBUTING.md",
    "project/security": "SECURITY.md",
    "project/tests": "tests/README.md",
    "project/example": "example_project/README.md",
    "project/examples": "examples/README.md",
    "project/example-django": "examples/django/README.md",
    "project/example-fastapi": "examples/fastapi/README.md",
}

_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#]+)([^)\s]*)\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def text_of(docname: str, text: str) -> str:
    """Return the text of a page, or of the file that it shows."""
    return (REPOSITORY / SHOWN[docname]).read_text("utf-8") if docname in SHOWN else text


def linked(docname: str, text: str) -> str:
    """Return the text of a page with its links as the site needs them.

    A link to a file that has a page leads to the page, and one from such a file starts at its page. Of a link to a
    folder, or to a page outside this one, only the text is left.
    """
    folder = (REPOSITORY / SHOWN[docname] if docname in SHOWN else DOCS / docname).parent
    here = (DOCS / docname).parent
    pages = {REPOSITORY / file: DOCS / f"{page}.md" for page, file in SHOWN.items()}

    def link(found: re.Match[str]) -> str:
        text, target, place = found.groups()
        if re.match(r"\w+:", target):
            return found[0]
        file = Path(os.path.normpath(folder / target))
        file = pages.get(file, file)
        if file.is_dir() or (file.suffix == ".md" and not file.is_relative_to(DOCS)):
            return text
        return f"[{text}]({os.path.relpath(file, here)}{place})"

    parts = _FENCE.split(text)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)
