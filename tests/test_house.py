"""The house: a file has one reason to change, and is short enough to be read at once."""

from collections import Counter
from pathlib import Path

import celery_dtimer

LINES = 300


def test_no_file_of_the_product_is_over_three_hundred_lines():
    files = {
        file: len(file.read_text("utf-8").splitlines()) for file in Path(celery_dtimer.__file__).parent.rglob("*.py")
    }
    assert files
    assert {file.name: lines for file, lines in files.items() if lines > LINES} == {}


def test_no_two_files_of_tests_that_run_together_have_the_same_name(pytestconfig):
    tests, left_out = Path(__file__).parent, set(pytestconfig.getini("norecursedirs"))
    files = [file.relative_to(tests) for file in tests.rglob("test_*.py")]
    names = Counter(file.name for file in files if not left_out & set(file.parts))
    assert names
    # The folders are no packages, so that pytest takes a second one for the first.
    assert [name for name, count in names.items() if count > 1] == []
