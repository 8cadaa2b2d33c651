"""The example in tests/README.md is a worker test that passes."""

import pytest
from pages import REPOSITORY, blocks
from rig.recipes import IMPORTED

pytest_plugins = ["pytester"]


@pytest.mark.slow
@pytest.mark.usefixtures("redis_url")
def test_the_example_for_newcomers_passes(pytester, monkeypatch):
    [example] = blocks(REPOSITORY / "tests" / "README.md")
    monkeypatch.setenv("PYTHONPATH", IMPORTED)
    pytester.makeconftest((REPOSITORY / "tests" / "conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile(example.source)
    pytester.runpytest_subprocess("-p", "no:valkey").assert_outcomes(passed=1)
