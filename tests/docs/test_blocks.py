"""Blocks of code in the pages that are not run are read: by a shell, by the options of the programs, by parsers."""

import re
from functools import cache

import pytest
from markdown_it import MarkdownIt
from pages import PAGES, REPOSITORY, Block, all_blocks, files
from reading import SYNOPSIS, celery_faults, faults, kind, shell_faults

from celery_dtimer.operating.cli import dtimer

COMMAND_LINE = REPOSITORY / "docs" / "reference" / "cli.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_what_is_not_run_is_right_as_far_as_it_can_be_read(page):
    found = [f"{page.name}:{block.line}: {fault}" for block in all_blocks(page) for fault in faults(block)]
    assert found == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_command_in_a_sentence_exists(page):
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))
    spans = [span.content for token in tokens for span in token.children or () if span.type == "code_inline"]
    typed = [span for span in spans if span.startswith("celery ") and not SYNOPSIS.search(span)]
    assert [(span, fault) for span in typed for fault in shell_faults(span)] == []


@pytest.mark.parametrize("page", [page for page in PAGES if files(page)], ids=lambda page: page.name)
def test_a_page_with_files_of_a_project_has_a_test_that_runs_them(page):
    tests = "".join(test.read_text("utf-8") for test in REPOSITORY.glob("tests/docs/test_*.py"))
    assert f'"{page.stem}' in tests or f'"{page.name}"' in tests


@cache
def synopses():
    """The options of each command in the synopses of all pages: (page, command, options)."""
    found = []
    for page in PAGES:
        for block in all_blocks(page):
            text = re.sub(r"\n\s+", " ", block.source)
            for name, rest in re.findall(r"^celery -A \w+ dtimer ([\w-]+)(.*)$", text, re.MULTILINE):
                if SYNOPSIS.search(rest):
                    found.append((page, name, set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", rest))))
    return found


def test_a_synopsis_has_no_option_that_its_command_lacks():
    known = {name: {o for each in command.params for o in each.opts} for name, command in dtimer.commands.items()}
    unknown = [(page.name, name, options - known[name]) for page, name, options in synopses()]
    assert [found for found in unknown if found[2]] == []


@pytest.mark.parametrize("name", dtimer.commands)
def test_the_synopses_of_a_command_have_all_its_options(name):
    shown = set().union(*(options for page, of, options in synopses() if page == COMMAND_LINE and of == name))
    options = [option.opts for option in dtimer.commands[name].params if option.opts[0].startswith("-")]
    assert [spellings for spellings in options if not shown & set(spellings)] == []


@pytest.mark.parametrize(
    ("typed", "fault"),
    [
        ("celery -A shop dtimer upcomming", "celery dtimer upcomming does not exist"),
        ("celery -A shop dtimer upcoming --limits 3", "celery upcoming: No such option"),
        ("celery -A shop dtimer upcoming -n many", "celery upcoming: Invalid value"),
        ("celery -A shop wroker", "celery wroker does not exist"),
        ("celery -A shop control dtimer_stop", "celery control dtimer_stop does not exist"),
        ("celery -A shop worker --pools solo", "celery worker: No such option"),
        ("make demos", "make demos does not exist"),
        ("pip install 'celery-dtimer[metrics]'", "there is no extra metrics"),
        (".venv/bin/python tests/attacks/none.py", "tests/attacks/none.py does not exist"),
        (".venv/bin/python tests/attacks/pools.py --natives", "tests/attacks/pools.py has no --natives"),
        ("selery worker", "selery is a program that tests/docs/reading.py does not know"),
        ("echo 'x", "unexpected EOF"),
    ],
)
def test_a_planted_fault_is_found(typed, fault):
    found = list(shell_faults(typed))
    assert any(fault in each for each in found), found


def test_a_command_in_order_has_no_faults():
    assert list(celery_faults(["-A", "shop", "dtimer", "upcoming", "-n", "5", "--json"])) == []


@pytest.mark.parametrize(
    ("language", "source", "what", "wrong"),
    [
        ("yaml", "a: [1", "yaml", True),
        ("toml", "a = 1", "toml", False),
        ("json", "{", "json", True),
        ("ini", "no section", "ini", True),
        ("python", "from celery_dtimer import nothing", "python, not run", True),
        ("", "dtimer_url = 'redis://'", "python, not run", False),
        ("", "celery -A shop dtimer peek ID [--json]", "synopsis", False),
        ("", "what a program said", "shown", False),
    ],
)
def test_a_block_is_read_as_what_it_is(language, source, what, wrong):
    block = Block("page.md", 1, source, language, is_run=False)
    assert (kind(block), bool(faults(block))) == (what, wrong)
