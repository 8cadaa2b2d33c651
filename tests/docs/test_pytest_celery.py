"""The project of docs/how-to/pytest-celery.md, as its reader runs it: from nothing, in a folder of its own."""

import os
import re
import subprocess
import sys

import pytest
from pages import REPOSITORY, files

PAGE = REPOSITORY / "docs" / "how-to" / "pytest-celery.md"


@pytest.fixture
def run_pytest(tmp_path):
    for name, source in files(PAGE).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source, encoding="utf-8")

    def run(*arguments, **environment):
        return subprocess.run(
            # The reader has the server on the path, or the embedded one; not this suite's configuration.
            [sys.executable, "-m", "pytest", "-p", "no:randomly", "-v", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


@pytest.mark.slow
def test_the_project_runs_in_processes(run_pytest):
    done = run_pytest()
    assert done.returncode == 0, done.stdout
    assert "celery nodes: processes" in done.stdout
    assert re.search(r"= 3 passed", done.stdout)


@pytest.mark.slow
def test_in_containers_the_fixtures_are_those_of_pytest_celery(run_pytest):
    """No engine is needed to see where they come from."""
    for mode, where in (("containers", r"pytest_docker_tools/plugin\.py"), ("processes", r"nodes/fixtures\.py")):
        done = run_pytest("--fixtures", CELERY_TEST_NODES=mode)
        assert re.search(rf"^docker_client \[session scope\] -- .*{where}", done.stdout, re.MULTILINE), done.stdout


def test_another_word_for_the_nodes_is_refused(run_pytest):
    done = run_pytest(CELERY_TEST_NODES="docker")
    assert done.returncode != 0
    assert "CELERY_TEST_NODES must be 'processes' or 'containers', got 'docker'" in done.stderr
