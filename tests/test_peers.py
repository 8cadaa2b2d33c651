"""The benchmark of the peers reads what it should; no peer is installed here."""

from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.fixture
def peer_runs(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import peer_runs

    return peer_runs


@pytest.fixture
def contenders(peer_runs) -> ModuleType:
    import contenders

    return contenders


def test_a_note_that_is_half_written_is_not_read(peer_runs):
    assert peer_runs.noted("10.5 0.25\n11.5 -0.5\n12.5 0.") == [(10.5, 0.25), (11.5, -0.5)]
    assert peer_runs.noted("10.") == []


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("Traceback (most recent call last):\n  File ...\nredis.exceptions.ConnectionError: refused\n", "refused"),
        ("file:///peer.mjs:3\n\nError: no 'ioredis' package\n    at load (redis.js:54:11)\n", "no 'ioredis' package"),
        ("it went wrong\n\n", "it went wrong"),
        ("", "it said nothing"),
    ],
)
def test_a_script_that_failed_is_told_by_the_line_of_its_error(peer_runs, output, why):
    told = peer_runs.error_of(output)
    assert told.endswith(why)
    assert "\n" not in told


def test_a_peer_that_can_not_be_installed_is_told_with_the_reason_of_pip(peer_runs):
    import installing

    output = "Looking in indexes\nERROR: Requires-Python >=3.13\n\nERROR: No matching distribution found\nnotice: pip\n"
    assert installing.reason(output) == "ERROR: Requires-Python >=3.13 ERROR: No matching distribution found"
    assert installing.reason("disk full\n") == "disk full"


def test_every_contender_has_a_script_and_every_family_one_whose_posts_are_measured(contenders):
    for one in contenders.CONTENDERS:
        assert (BENCHMARKS / "peers" / one.script).is_file()
        assert one.peer == "" or one.peer in {*contenders.PYTHON, *contenders.NODE}
    families = {one.family for one in contenders.CONTENDERS}
    assert families == {one.name for one in contenders.CONTENDERS if one.leads}
    assert set(contenders.QUICK) <= {one.name for one in contenders.CONTENDERS}
