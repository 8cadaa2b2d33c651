"""The house: a file has one reason to change, and is short enough to be read at once."""

from pathlib import Path

import celery_dtimer

LINES = 300


def test_no_file_of_the_product_is_over_three_hundred_lines():
    files = {
        file: len(file.read_text("utf-8").splitlines()) for file in Path(celery_dtimer.__file__).parent.rglob("*.py")
    }
    assert files
    assert {file.name: lines for file, lines in files.items() if lines > LINES} == {}
