"""The kit in users' projects: pytest runs their tests in a process of its own."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECTS = Path(__file__).parent / "projects"
ROOT = Path(__file__).parents[2]

#: All others stay out: some have fixtures of the same names as Celery's.
PLUGINS = ("_celery_dtimer_pytest", "celery.contrib.pytest", "xdist")


@pytest.fixture
def run(tmp_path):
    """Runs pytest on modules of projects/, and returns what it printed."""

    def run(*modules, options=(), config="", env=(), status=0, names=PLUGINS):
        for source, module in (("shop.py", "shop.py"), *((name, f"test_{name}") for name in modules)):
            (tmp_path / module).write_text((PROJECTS / source).read_text())
        # Celery leaves some sockets to the garbage collector, and calls what new versions of redis-py deprecate.
        ignored = "ignore:unclosed <socket:ResourceWarning\n  ignore:Call to deprecated setex:DeprecationWarning"
        (tmp_path / "pytest.ini").write_text(f"[pytest]\nfilterwarnings =\n  error\n  {ignored}\n{config}")
        plugins = [option for name in names for option in ("-p", name)]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *plugins, "-rA", "--tb=short", *options],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
                **dict(env),
            },
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_app_of_a_project_is_tested_in_several_processes(run, tmp_path):
    printed = run("own_app.py", options=["-n", "2"], config="dtimer_app = shop:app\n")
    assert "7 passed" in printed
    urls = {file.read_text() for file in tmp_path.glob("url-*")}
    assert len(urls) == 2, "each process has a server of its own"
    assert not any(Path(url.removeprefix("unix://")).exists() for url in urls)


@pytest.mark.slow
def test_the_fixtures_of_celery_are_enough(run, redis_url):
    printed = run("contrib.py", config=f"dtimer_url = {redis_url}\n")
    assert "4 passed" in printed


@pytest.mark.slow
def test_the_processes_of_a_pool_go_by_the_tests_time(run, redis_server, redis_url, redis_client):
    config = f"dtimer_url = {redis_url}\ndtimer_results = app\n"
    assert "1 passed" in run("prefork.py", config=config, env={"RESULTS": redis_server.url_of(1)})


def test_a_project_without_an_app_is_told_what_to_do(run):
    printed = run("no_app.py", names=PLUGINS[:1], status=1)
    assert "dtimer has no Celery app: set the option dtimer_app to one (proj.celery:app), or override" in printed


def test_pytest_starts_without_celery(tmp_path):
    (tmp_path / "conftest.py").write_text(
        "import sys\n"
        "def pytest_sessionfinish():\n"
        "    assert '_celery_dtimer_pytest' in sys.modules\n"
        "    print({name.partition('.')[0] for name in sys.modules} & {'celery', 'celery_dtimer', 'kombu', 'redis'})\n"
    )
    (tmp_path / "test_nothing.py").write_text("def test_nothing(): ...\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "_celery_dtimer_pytest", "-s", "-q"],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert "set()" in done.stdout


def test_the_plugin_is_the_one_that_pytest_finds():
    entry_points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert entry_points["pytest11"] == {"dtimer": "_celery_dtimer_pytest"}
