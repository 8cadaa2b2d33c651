"""The documentation's site, opened from a disk: nothing is loaded from elsewhere, and what is looked for is found.

It is what ``make docs`` has built last; ``make test-browser`` does that first.
"""

import io
import re
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from rig.browser import PATIENCE_MS, Watch

SITE = Path(__file__).parents[2] / "build" / "docs" / "html"
PAGES = sorted(SITE.rglob("*.html"))
PHONE, DESK = 360, 1280


@contextmanager
def visiting(browser, scheme="light", allowed=()):
    """A page of the site, which is watched."""
    assert PAGES, f"there is no site in {SITE}: make docs"
    context = browser.new_context(color_scheme=scheme, viewport={"width": DESK, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    watch = Watch(context, "file://")
    for part in allowed:
        watch.allow(part)
    page = context.new_page()
    page.goto(f"file://{SITE / 'index.html'}")
    yield page
    context.close()
    watch.check()


def test_every_page_fits_its_screen_and_loads_nothing_from_elsewhere(browser):
    too_wide = []
    with visiting(browser) as page:
        for path in PAGES:
            page.set_viewport_size({"width": DESK, "height": 900})
            page.goto(f"file://{path}")
            for width in (DESK, PHONE):
                page.set_viewport_size({"width": width, "height": 900})
                if page.evaluate("document.documentElement.scrollWidth") > width:
                    too_wide.append((path.name, width))
    assert too_wide == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible(browser, axe, scheme):
    # Lists and landmarks are Sphinx' and furo's own.
    rules = {"definition-list": {"enabled": False}, "landmark-unique": {"enabled": False}}
    found = []
    with visiting(browser, scheme) as page:
        for name in ("index", "tutorial/first-steps", "reference/cli", "reference/settings", "reference/api"):
            page.goto(f"file://{SITE / name}.html")
            page.evaluate(axe)
            answer = page.evaluate(
                "rules => axe.run(document, { rules, resultTypes: ['violations'], preload: false })", rules
            )
            found += [(name, fault["id"], fault["nodes"][0]["html"][:200]) for fault in answer["violations"]]
    assert found == []


@pytest.mark.parametrize("words", ["debounce", "dtimer_misfire_grace", "NotReplicatedError"])
def test_the_search_finds_words_without_a_network(browser, words):
    # From a disk it lists the pages and shows no excerpts: a browser lets no page read another file.
    with visiting(browser, allowed=["fetch", "ERR_FAILED"]) as page:
        page.locator("input.sidebar-search").fill(words)
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"search\.html"))
        page.locator("#search-results li a").first.click()
        page.locator("h1").first.wait_for()
        assert words.lower() in page.content().lower()


@pytest.mark.parametrize(("scheme", "chosen"), [("light", "light"), ("dark", "dark"), ("light", "dark")])
def test_a_diagram_is_as_dark_as_its_page(browser, scheme, chosen):
    with visiting(browser, scheme) as page:
        page.evaluate("theme => { document.body.dataset.theme = theme }", chosen)
        shown = Image.open(io.BytesIO(page.locator("img[src$='architecture.svg']").screenshot()))
    assert shown.convert("L").getpixel((60, 12)) == pytest.approx({"light": 255, "dark": 27}[chosen], abs=5)
