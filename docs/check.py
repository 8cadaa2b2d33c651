# ruff: noqa: INP001 - a script, not a package
"""Checks the site that Sphinx has built: ``python docs/check.py build/docs/html``; status 1 and a line a fault.

Every link within the site leads to a page and to a place in it, nothing is loaded from another host, so that the site
works from a disk too, and the search knows every page. Links to other hosts: ``make docs-links``.
"""

import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: The attributes by which a browser loads something for a page, by the element.
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
#: Links between pages, which load nothing.
RELATIONS = {"next", "prev", "search", "index", "author", "copyright", "canonical", "top", "up"}

_IN_CSS = re.compile(r"(?:url\(|@import )[\"']?([^\"')\s]+)")


class Page(HTMLParser):
    """One page, read: the places in it, where it leads to, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places = {"", "top"}
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        found = {name: value or "" for name, value in attrs}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        target = found.get(LOADED.get(tag, ""), "")
        if target and not (tag == "link" and set(found.get("rel", "").split()) & RELATIONS):
            self.loads.append(target)
        self.loads += _IN_CSS.findall(found.get("style", ""))
        if tag == "a" and "href" in found:
            self.links.append(found["href"])


def faults(site: Path) -> Iterator[str]:
    """Yield what is wrong with a built site."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    if site / "index.html" not in pages:
        yield f"there is no site in {site}: make docs"
        return
    for path, page in pages.items():
        name = path.relative_to(site)
        for load in page.loads:
            yield from (f"{name} loads {fault}" for fault in _missing(path, load))
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                yield f"{name} leads to {link}, which does not exist"
            elif target in pages and unquote(parts.fragment) not in pages[target].places:
                yield f"{name} leads to {link}, and there is no such place"
    for path in sorted(site.rglob("*.css")):
        for load in _IN_CSS.findall(path.read_text("utf-8")):
            yield from (f"{path.relative_to(site)} loads {fault}" for fault in _missing(path, load))
    yield from _not_searched(site, pages)


def _missing(path: Path, load: str) -> Iterator[str]:
    """Yield what is wrong with something that a page or a style loads."""
    parts = urlsplit(load)
    if parts.scheme == "data" or load.startswith("#"):
        return
    if parts.scheme or parts.netloc:
        yield f"{load}, from another host"
    elif not (path.parent / unquote(parts.path)).resolve().is_file():
        yield f"{load}, which does not exist"


def _not_searched(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    """Yield the pages that the search does not know."""
    text = (site / "searchindex.js").read_text("utf-8")
    known = json.loads(text[text.index("{") : text.rindex("}") + 1])["docnames"]
    names = {str(path.relative_to(site).with_suffix("")) for path in pages} - {"genindex", "search", "py-modindex"}
    for name in sorted(names - set(known)):
        yield f"the search does not know {name}.html"


def main(site: Path) -> int:
    """Print the faults of a site, and return the status of the program."""
    found = list(faults(site))
    sys.stdout.writelines(f"{fault}\n" for fault in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
