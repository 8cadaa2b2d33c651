"""What the pages say is so: their examples run, and the names in them exist, all of them.

Every ``python`` block of a page is run, top to bottom, in one namespace a page, unless ``<!-- not run -->`` stands
before it, or its first line names a file: those are projects and scripts, see test_frameworks.py and test_moves.py.
"""

import os
import re
import subprocess
import sys

import pytest
from celery import Celery
from celery.bin.celery import celery
from click.testing import CliRunner
from pages import DOCS, EXAMPLE_REDIS, PAGES, REPOSITORY, all_blocks, anchors, blocks, broken_links, hold, snippets
from rig.brokers import BrokerPlace
from rig.waiting import wait_until

import celery_dtimer
from celery_dtimer import errors
from celery_dtimer.extension import extension_of
from celery_dtimer.settings import NAMES, PREFIX, Settings
from celery_dtimer.timer.options import OPTIONS

TUTORIAL = REPOSITORY / "docs" / "tutorial" / "first-steps.md"
#: Its example is a test: see test_tests_readme.py.
TESTS_README = REPOSITORY / "tests" / "README.md"
#: Its examples are typed in a folder of their own.
EXAMPLE_PROJECT = REPOSITORY / "example_project" / "README.md"
RUNNABLE = [page for page in PAGES if page not in (TUTORIAL, TESTS_README, EXAMPLE_PROJECT) and snippets(page)]

#: Names with the settings' prefix that are none: a decorator, an attribute of tasks, what log records carry, commands,
#: options of pytest's configuration.
OTHER_NAMES = {"task", "options", "event", "listener", "pause", "resume", "app", "results"}


def text_of(pages):
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


@pytest.mark.usefixtures("make_app")  # for the end of it: what a page's app leaves in this process is undone
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_the_examples_of_a_page_run(page, redis_server, redis_url, expected_keys):
    expected_keys.append("{*")
    # Tasks are named by it, and tasks of one name on two pages would be each other's.
    names = {"__name__": page.stem.lower()}
    for block in snippets(page):
        block.run(names, redis_server.url_of(0)[:-1])
    for app in [value for value in names.values() if isinstance(value, Celery)]:
        assert extension_of(app).settings  # a wrong one raises


def test_the_examples_of_the_example_project_run(redis_url, expected_keys):
    expected_keys.append("{*")
    code = "\n".join(block.source for block in snippets(EXAMPLE_PROJECT))
    environment = {**os.environ, "SHOP_REDIS_URL": redis_url, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", code], cwd=EXAMPLE_PROJECT.parent, env=environment, timeout=60, check=True)


def _without_ids_and_times(text):
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text).strip()


class TestTutorial:
    """The tutorial's own app, its workers and its kill."""

    @pytest.fixture
    def app_file(self, tmp_path, redis_server):
        source = blocks(TUTORIAL)[0].source.replace(EXAMPLE_REDIS, redis_server.url_of(0)[:-1])
        file = tmp_path / "shop.py"
        file.write_text(source, encoding="utf-8")
        return file

    @pytest.fixture
    def broker_place(self, redis_url):
        """The tutorial's broker, its results and its timer are one Redis; the environment would go before its app."""
        return BrokerPlace(redis_url)

    @pytest.fixture
    def names(self, worker_app, monkeypatch):
        """The reader's Python. Results unsubscribe when they end, and that must be before their server does."""
        monkeypatch.setitem(sys.modules, "shop", worker_app.module)
        names = {"__name__": "__main__"}
        yield names
        names.clear()

    def type_and_compare(self, task_id):
        """List the task and cancel it by the commands: they say what the page shows, but for the id and the time."""
        shown = [block.source for block in all_blocks(TUTORIAL) if not block.language]
        kept = dict.fromkeys(("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"))
        for typed, page in zip((["upcoming"], ["cancel", task_id]), shown, strict=True):
            told = CliRunner().invoke(celery, ["-A", "shop", "dtimer", *typed], env=kept)
            # The module of the test's project is called proj.
            assert _without_ids_and_times(told.stdout).replace("proj.", "shop.") == _without_ids_and_times(page)

    @pytest.mark.slow
    def test_the_tutorial_works(self, names, start_worker, expected_keys):
        expected_keys.append("{*")
        app, post, ask, kill, dead, written = blocks(TUTORIAL)
        assert "install(app)" in app.source
        post.run(names, "")
        self.type_and_compare(names["reminder"].id)
        one = start_worker(pool="threads", name="one")
        ask.run(names, "")
        kill.run(names, "")
        one.wait_for_log("account 7: begun", timeout=20)
        one.kill()
        dead.run(names, "")
        two = start_worker(pool="threads", name="two")
        assert names["statement"].get(timeout=60)
        wait_until(lambda: names["statement"].peek() is None, "the confirm")
        written.run(names, "")
        assert "account 7: begun" in two.logs()
        assert "account 7: written" not in one.logs()


def test_a_page_that_says_what_is_not_so_fails():
    hold(1, "1", {})
    hold("pending", "'pending'", {})
    with pytest.raises(AssertionError):
        hold(1, "2", {})
    with pytest.raises(AssertionError, match="is not"):
        hold(1, "<State.PENDING: 'pending'>", {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_within_the_repository_leads_somewhere(page):
    assert list(broken_links(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_test_that_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"tests/[\w/]+\.py", text))
    assert [name for name in sorted(named) if not (REPOSITORY / name).exists()] == []
    named = set(re.findall(r"`(test_\w+\.py)`", text))
    assert [name for name in sorted(named) if not list(REPOSITORY.glob(f"tests/*/{name}"))] == []


def test_every_setting_that_a_page_names_exists():
    text = text_of(PAGES)
    named = set(re.findall(rf"(?<!\w){PREFIX}([a-z_]+[a-z])\b", text))
    named |= {name.lower() for name in re.findall(r"\bCELERY_DTIMER_([A-Z_]+[A-Z])\b", text)}
    assert named - OTHER_NAMES <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_in_its_table_with_its_unit_and_default_and_in_every_form(name):
    field = Settings.__dataclass_fields__[name]
    page = (REPOSITORY / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    [row] = re.findall(rf"^\| `{PREFIX}{field.name}` \|(.*)$", page, re.MULTILINE)
    if field.name != "url":
        default = f'"{field.default}"' if isinstance(field.default, str) else field.default
        _, unit, shown, *_ = (column.strip() for column in row.split("|"))
        assert (unit, shown) == (OPTIONS[name].unit, f"`{default}`")
    assert f"{field.name}=..." in page
    assert f"`CELERY_DTIMER_{field.name.upper()}`" in page


def test_every_public_name_is_in_the_documentation():
    text = text_of(DOCS)
    assert [name for name in celery_dtimer.__all__ if not re.search(rf"`[^`\n]*\b{name}\b", text)] == []


def test_every_error_has_its_entry_and_its_bases():
    page = REPOSITORY / "docs" / "reference" / "errors.md"
    text = page.read_text(encoding="utf-8")
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) > 5
    for kind in kinds:
        assert kind.__name__.lower() in anchors(page)
        [row] = re.findall(rf"^\| `{kind.__name__}` \|(.*)\|$", text, re.MULTILINE)
        bases = {base.__name__ for base in kind.__bases__ if base is not errors.DTimerError}
        assert set(re.findall(r"`(\w+)`", row)) == bases
