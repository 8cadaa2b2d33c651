"""What is in a wheel and in an sdist, and which version they say that they are."""

import shutil
import sys
import tarfile
import zipfile
from email.parser import Parser

import pytest
from conftest import REPOSITORY, VERSION, build, run

#: The plugin of pytest: it stands outside of the package, since pytest imports it everywhere.
PYTEST = "_celery_dtimer_pytest.py"


@pytest.fixture(scope="session")
def in_wheel(release):
    with zipfile.ZipFile(release.wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="session")
def metadata(release):
    with zipfile.ZipFile(release.wheel) as archive:
        return Parser().parsestr(archive.read(f"celery_dtimer-{VERSION}.dist-info/METADATA").decode())


def test_the_wheel_has_every_file_of_the_package_and_its_version(in_wheel):
    package = REPOSITORY / "celery_dtimer"
    files = {
        str(file.relative_to(REPOSITORY))
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    files |= {"celery_dtimer/_version.py", PYTEST}
    assert {name for name in in_wheel if ".dist-info/" not in name} == files


@pytest.mark.parametrize(
    ("folder", "ending"),
    [("timer/storing/lua", ".lua"), ("web/templates", ".html"), ("web/static", ".js"), ("", "py.typed")],
)
def test_the_wheel_has_scripts_templates_static_files_and_the_mark_of_types(in_wheel, folder, ending):
    assert [name for name in in_wheel if name.startswith(f"celery_dtimer/{folder}") and name.endswith(ending)]


def test_the_wheel_installs_nothing_but_the_package_and_its_plugin_of_pytest(in_wheel):
    assert {name.partition("/")[0] for name in in_wheel} == {
        "celery_dtimer",
        "_celery_dtimer_pytest.py",
        f"celery_dtimer-{VERSION}.dist-info",
    }
    assert f"celery_dtimer-{VERSION}.dist-info/licenses/LICENSE" in in_wheel
    assert [name for name in in_wheel if "test_" in name or "conftest" in name] == []


def test_the_metadata_are_what_an_index_takes(release, metadata):
    assert "PASSED" in run(
        sys.executable, "-m", "twine", "--no-color", "check", "--strict", release.wheel, release.sdist
    )
    assert metadata["Version"] == VERSION
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "Typing :: Typed" in metadata.get_all("Classifier")


def test_only_celery_kombu_and_redis_are_needed(metadata):
    needed = [name for name in metadata.get_all("Requires-Dist") if "extra ==" not in name]
    assert [name.split("<")[0].split(">")[0] for name in needed] == ["celery", "kombu", "redis"]


def test_the_sdist_has_what_tests_and_documentation_need(release):
    with tarfile.open(release.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "CHANGELOG.md", "docs/index.md", "tests/conftest.py", "celery_dtimer/_version.py"} <= names


def test_a_wheel_that_is_built_from_a_tag_has_the_tags_version(release):
    assert release.wheel.name == f"celery_dtimer-{VERSION}-py3-none-any.whl"
    assert release.sdist.name == f"celery_dtimer-{VERSION}.tar.gz"


def test_a_shallow_clone_without_tags_builds_below_every_release(checkout, tmp_path):
    run("git", "clone", "--quiet", "--depth", "1", "--no-tags", checkout.as_uri(), tmp_path / "clone")
    [wheel] = build(tmp_path / "clone", tmp_path / "dist", "--wheel").iterdir()
    assert wheel.name.startswith("celery_dtimer-0.0.1.dev1+g")


def test_files_without_a_repository_build_below_every_release(checkout, tmp_path):
    shutil.copytree(checkout, tmp_path / "copy", ignore=shutil.ignore_patterns(".git"))
    [wheel] = build(tmp_path / "copy", tmp_path / "dist", "--wheel").iterdir()
    assert wheel.name == "celery_dtimer-0.0.0-py3-none-any.whl"
