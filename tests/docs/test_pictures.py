"""The pictures of the pages: those that docs/pictures/make.py makes from the texts beside them, and the console's."""

import runpy
from xml.etree import ElementTree as ET

import pytest
from pages import PAGES, REPOSITORY

FOLDER = REPOSITORY / "docs" / "pictures"
TEXTS = sorted(FOLDER.glob("*.txt"))
MOST = 150_000  # bytes of a screenshot


@pytest.fixture(scope="module")
def picture():
    return runpy.run_path(str(FOLDER / "make.py"))["picture"]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.stem)
def test_a_picture_is_made_from_its_text(text, picture):
    made = picture(text.read_text(encoding="utf-8"))
    assert text.with_suffix(".svg").read_text(encoding="utf-8") == made, "run python3 docs/pictures/make.py"
    ET.fromstring(made)


def test_every_picture_has_a_text_and_a_page():
    assert [text.stem for text in TEXTS] == [svg.stem for svg in sorted(FOLDER.glob("*.svg"))]
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [text.stem for text in TEXTS if f"pictures/{text.stem}.svg" not in pages] == []


def test_every_screenshot_is_small_and_on_a_page():
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    screenshots = sorted(FOLDER.glob("*.png"))
    assert screenshots
    assert {each.name for each in screenshots if each.stat().st_size > MOST} == set()
    assert [each.name for each in screenshots if f"pictures/{each.name}" not in pages] == []
