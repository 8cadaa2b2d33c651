"""What makes the site of the pages, without building it: ``make docs`` does that, and checks what comes out."""

import re
import runpy
import sys

import pytest
from pages import REPOSITORY

import celery_dtimer
from celery_dtimer import signals, testing
from celery_dtimer.operating.cli import dtimer
from celery_dtimer.timer.storing.keys import TYPES
from celery_dtimer.timer.storing.scripts import NAMES, PARTS, read

DOCS = REPOSITORY / "docs"
sys.path.insert(0, str(DOCS))

from builder import contents, markers, places  # noqa: E402 - its place is known now

INDEX = places.linked("index", (DOCS / "index.md").read_text("utf-8"))
PAGES = sorted(str(page.relative_to(DOCS).with_suffix("")) for page in DOCS.rglob("*.md"))


def asked_for(maker):
    """The arguments of all comments in the pages that ask for something."""
    text = "\n".join((DOCS / f"{page}.md").read_text("utf-8") for page in PAGES)
    return [name for found in markers.MARKER.finditer(text) if found[1] == maker for name in found[2].split()]


def test_every_page_is_in_one_section_of_the_contents():
    listed = [name for _, pages in contents.sections(INDEX) for _, name in pages]
    assert sorted([*listed, "index"]) == PAGES


def test_the_sections_are_those_of_the_contents():
    headings = [heading for heading, _ in contents.sections(INDEX)]
    parts = list(dict.fromkeys(heading.partition(":")[0] for heading in headings))
    assert parts == ["Tutorial", "How-to", "Reference", "Explanation", "Project"]
    assert contents.with_toctrees(INDEX).count("```{toctree}") == len(headings)


@pytest.mark.parametrize("page", PAGES)
def test_everything_that_a_page_asks_for_is_made(page):
    text = places.linked(page, places.text_of(page, (DOCS / f"{page}.md").read_text("utf-8")))
    assert markers.MARKER.search(markers.filled(text)) is None


def test_the_reference_has_every_public_name_once():
    names = asked_for("api")
    assert sorted(name for name in names if "." not in name) == sorted(celery_dtimer.__all__)
    for module in (signals, testing):
        room = module.__name__.removeprefix("celery_dtimer.")
        listed = sorted(name for name in names if name.startswith(f"{room}."))
        assert listed == sorted(f"{room}.{name}" for name in module.__all__)


def test_every_command_and_every_option_is_on_the_site():
    assert sorted(asked_for("options")) == sorted(dtimer.commands)
    for name, command in dtimer.commands.items():
        made = markers.MAKERS["options"](name)
        missing = [option for each in command.params for option in each.opts if option.startswith("-")]
        assert [option for option in missing if f"`{option}" not in made] == []


def test_every_script_is_on_the_site_with_its_arguments_reply_and_cost():
    sections = dict(part.split("\n", 1) for part in markers.MAKERS["scripts"]().split("### ")[1:])
    assert list(sections) == list(NAMES)
    for name, section in sections.items():
        slots = re.findall(r"^-- ARGV\[\d+(?:\.\.)?\] (\w+(?:, \w+)*)", read(name), re.MULTILINE)
        assert [slot for slot in slots if f"| `{slot}` |" not in section] == [], name
        assert [part for part in ("Keys", "Reply", "Cost") if f"**{part}**: " not in section] == [], name


def test_every_key_of_the_scripts_has_its_record_on_the_site():
    keys = set(re.findall(r"^\| `(\w+)`(?:, `(\w+)`)? \|", markers.MAKERS["records"](), re.MULTILINE))
    assert {key for pair in keys for key in pair if key} == set(TYPES) - {"polls", "layout", "wait"}


def test_every_key_is_in_its_table_with_its_type_and_whether_it_expires():
    page = (DOCS / "reference" / "redis.md").read_text("utf-8")
    rows = re.findall(r"^\| `\{dt:0\}:(\w+)(?::QUEUE)?` \| ([\w ]+) \| ([^|]+) \|", page, re.MULTILINE)
    words = {"zset": "sorted set"}
    assert {name: kind for name, kind, _ in rows} == {name: words.get(kind, kind) for name, kind in TYPES.items()}
    lua = "".join(read(name) for name in (*NAMES, "common", *PARTS["claim"]))
    calls = [call for call in lua.split("redis.call(") if "PEXPIRE'" in call or "'PX'" in call]
    expiring = {re.match(r"'\w+', (\w+)", call)[1] for call in calls}
    assert {name for name, _, expires in rows if expires != "none"} == {*expiring, "wait"}


def test_a_file_outside_the_folder_leads_to_the_pages_of_the_site():
    text = "[a](docs/how-to/tasks.md#tags) [b](CONTRIBUTING.md) [c](https://x.y/z.md) [`d`](LICENSE.md) [e](tests/)"
    made = "[a](../how-to/tasks.md#tags) [b](contributing.md) [c](https://x.y/z.md) `d` e"
    assert places.linked("project/changelog", text) == made


class TestCheck:
    """docs/check.py, on a small site."""

    @pytest.fixture
    def site(self, tmp_path):
        (tmp_path / "a.css").write_text("p { background: url(a.png) }")
        (tmp_path / "a.png").write_bytes(b"")
        (tmp_path / "searchindex.js").write_text('Search.setIndex({"docnames":["index"]})')
        return tmp_path

    @pytest.fixture
    def faults(self, site):
        find = runpy.run_path(str(DOCS / "check.py"))["faults"]

        def of(body):
            (site / "index.html").write_text(f'<link rel="stylesheet" href="a.css"><h1 id="here">x</h1>{body}')
            return list(find(site))

        return of

    def test_a_site_in_order_has_no_faults(self, faults):
        assert faults('<a href="#here">x</a><a href="index.html#here">x</a><a href="https://x.y/">x</a>') == []

    @pytest.mark.parametrize(
        ("body", "fault"),
        [
            ('<a href="there.html">x</a>', "index.html leads to there.html, which does not exist"),
            ('<a href="#there">x</a>', "index.html leads to #there, and there is no such place"),
            ('<img src="b.png">', "index.html loads b.png, which does not exist"),
            ('<script src="https://cdn.x/y.js"></script>', "index.html loads https://cdn.x/y.js, from another host"),
            ('<link rel="icon" href="//cdn.x/y.ico">', "index.html loads //cdn.x/y.ico, from another host"),
            ('<p style="background: url(b.png)">', "index.html loads b.png, which does not exist"),
        ],
    )
    def test_a_planted_fault_is_found(self, faults, body, fault):
        assert faults(body) == [fault]

    def test_a_page_that_the_search_does_not_know_is_found(self, site, faults):
        (site / "b.html").write_text("")
        assert faults("") == ["the search does not know b.html"]

    def test_a_style_that_loads_from_another_host_is_found(self, site, faults):
        (site / "a.css").write_text('@import "https://fonts.x/y.css";')
        assert faults("") == ["a.css loads https://fonts.x/y.css, from another host"]

    def test_an_empty_folder_is_no_site(self, tmp_path):
        [fault] = runpy.run_path(str(DOCS / "check.py"))["faults"](tmp_path)
        assert "there is no site" in fault
