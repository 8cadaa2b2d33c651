"""Each accommodation of Celery, kombu and redis-py goes when no supported version needs it any more."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from celery_dtimer.accommodations import ACCOMMODATIONS, Accommodation
from celery_dtimer.celery_patches import apps, backends, masking, pools, testing, watching, worker
from celery_dtimer.firing import threads
from celery_dtimer.timer.connecting import redis_patches

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"

#: Imported, since each notes its own.
MODULES = (apps, backends, masking, pools, redis_patches, testing, threads, watching, worker)


def oldest_supported():
    """The oldest version of each library that pyproject.toml allows."""
    wanted = map(Requirement, tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"])
    return {one.name: min(Version(spec.version) for spec in one.specifier if spec.operator == ">=") for one in wanted}


def superfluous(accommodations, oldest):
    """Names of those that no supported version needs."""
    found = []
    for one in accommodations:
        if re.fullmatch(r"\w+>=[\d.]+", one.remove_when):
            removed = Requirement(one.remove_when)
            if removed.specifier.contains(oldest[removed.name], prereleases=True):
                found.append(one.name)
    return found


def test_no_accommodation_outlives_the_versions_that_need_it():
    assert superfluous(ACCOMMODATIONS, oldest_supported()) == []


def test_an_accommodation_is_superfluous_from_the_version_on_that_does_without():
    one = Accommodation("a patch", "celery before 5.6", "celery>=5.6", None)
    assert superfluous([one], {"celery": Version("5.5")}) == []
    assert superfluous([one], {"celery": Version("5.6")}) == ["a patch"]
    assert superfluous([one], {"celery": Version("5.7.1")}) == ["a patch"]
    for_ever = Accommodation("a patch", "all", "Celery has a hook", None)
    assert superfluous([for_ever], {"celery": Version("9")}) == []


@pytest.mark.parametrize("one", ACCOMMODATIONS, ids=lambda one: one.name)
def test_an_accommodation_says_who_needs_it_and_when_it_can_go(one):
    assert one.needed_by == "all" or re.match(r"(celery|kombu|redis) before \d", one.needed_by)
    assert one.remove_when
    repository = "(celery/celery|celery/kombu|redis/redis-py)"
    assert one.upstream is None or re.fullmatch(rf"https://github\.com/{repository}/issues/\d+", one.upstream)
    if one.needed_by != "all":
        library, _, version = one.needed_by.partition(",")[0].partition(" before ")
        assert one.remove_when == f"{library}>={version.split()[0]}"


def test_each_module_notes_what_it_is_made_of():
    noted = {one.name.rpartition(".")[0] for one in ACCOMMODATIONS}
    assert {module.__name__ for module in MODULES} <= noted


@pytest.mark.parametrize("room", ["posting", "firing", "operating", "timer", "testing"])
def test_no_other_module_uses_private_names_of_the_libraries(room):
    files = (PYPROJECT.parent / "celery_dtimer" / room).rglob("*.py")
    found = [file.stem for file in files if re.search("SLF001(?! - (its own|pytest_docker_tools))", file.read_text())]
    assert set(found) <= {redis_patches.__name__.rpartition(".")[2]}
