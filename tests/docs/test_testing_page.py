"""The page about users' own tests: its files are a project, whose tests pass."""

import os
import subprocess
import sys

import pytest
from pages import REPOSITORY, files

PAGE = REPOSITORY / "docs" / "how-to" / "testing.md"

#: What `manage.py test` reads; the page's test needs no models.
DJANGO_SETTINGS = 'DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}\n'


@pytest.fixture
def run(tmp_path):
    """Runs a command in the project."""
    for name, source in files(PAGE).items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    (tmp_path / "settings.py").write_text(DJANGO_SETTINGS)
    (tmp_path / "pytest.ini").write_text("[pytest]\ndtimer_app = shop:app\n")

    def run(*arguments):
        environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{tmp_path}"}
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=tmp_path,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


PLUGINS = ("-p", "_celery_dtimer_pytest", "-p", "celery.contrib.pytest")


def test_the_tests_of_the_page_pass(run):
    assert "4 passed" in run("pytest", *PLUGINS, "test_shop.py", "test_errors.py", "test_time.py")


@pytest.mark.slow
def test_the_test_with_a_worker_passes(run):
    assert "1 passed" in run("pytest", *PLUGINS, "test_with_worker.py")


def test_the_test_of_djangos_passes(run):
    assert "OK" in run("django", "test", "--settings=settings", "--pattern=test_in_django.py")


def test_every_file_of_the_page_is_run():
    names = {"shop.py", "test_shop.py", "test_errors.py", "test_with_worker.py", "test_in_django.py", "test_time.py"}
    assert set(files(PAGE)) == names, f"{PAGE.name} has others"
