"""The pictures of the pages are those that docs/pictures/make.py makes from the texts beside them."""

import runpy
from xml.etree import ElementTree as ET

import pytest
from pages import PAGES, REPOSITORY

FOLDER = REPOSITORY / "docs" / "pictures"
TEXTS = sorted(FOLDER.glob("*.txt"))


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
