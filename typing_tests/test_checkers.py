"""Type checkers find every wrong call, and nothing in right ones: beside celery-types, and without Celery's types."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parent

#: Where `make test-typing` has the checkers, and celery-types.
TOOLS = Path(os.environ.get("DTIMER_TEST_TYPING", REPOSITORY / ".venv-typing")) / "bin"

#: The interpreter with what a user has installed -> whether celery-types is there.
BESIDE = {"without": Path(sys.executable), "beside celery-types": TOOLS / "python"}
FILES = {
    "without": ("tasks", "right", "inferred", "wrong", "on_django"),
    "beside celery-types": ("tasks", "right", "inferred", "wrong", "on_django", "beside_celery_types"),
}
PAGE = REPOSITORY / "docs" / "how-to" / "typing.md"
AT_LEAST = 40


def files(beside, folder):
    """The files to be checked, and the examples of the documentation, which are for those who have celery-types."""
    paths = [HERE / f"{name}.py" for name in FILES[beside]]
    if beside != "without":
        blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        paths.append(folder / "examples.py")
        paths[-1].write_text("\n".join(blocks))
    return paths


def mypy(beside, folder, paths):
    """The places in which mypy finds errors."""
    place = ["--python-executable", BESIDE[beside], "--cache-dir", folder / "cache"]
    options = ["--config-file", HERE / "mypy.ini", "--output", "json"]
    ran = subprocess.run([TOOLS / "mypy", *options, *place, *paths], capture_output=True, text=True, check=False)
    assert ran.returncode in {0, 1}, ran.stderr
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    return {(Path(one["file"]).name, one["line"]): one["message"] for one in found if one["severity"] == "error"}


def pyright(beside, folder, paths):
    """The places in which pyright finds errors: with its strictest rules where Celery has types."""
    # Paths in a configuration are relative to it.
    config = {
        "include": [os.path.relpath(path, folder) for path in paths],
        "extraPaths": [os.path.relpath(REPOSITORY, folder)],
        "typeCheckingMode": "standard" if beside == "without" else "strict",
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    command = [TOOLS / "pyright", "--outputjson", "--project", folder, "--pythonpath", BESIDE[beside]]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode in {0, 1}, ran.stdout + ran.stderr
    answer = json.loads(ran.stdout)
    assert answer["summary"]["filesAnalyzed"] == len(paths)
    errors = [one for one in answer["generalDiagnostics"] if one["severity"] == "error"]
    return {(Path(one["file"]).name, one["range"]["start"]["line"] + 1): one["message"] for one in errors}


def marked(path, mark):
    """The lines of a file that end with a mark."""
    lines = enumerate(path.read_text("utf-8").splitlines(), 1)
    return {(path.name, number) for number, line in lines if re.search(rf"  # ({mark})$", line)}


@pytest.mark.parametrize("beside", FILES)
@pytest.mark.parametrize("checker", [mypy, pyright])
def test_each_wrong_line_is_found_and_no_other(checker, beside, tmp_path):
    paths = files(beside, tmp_path)
    found = checker(beside, tmp_path, paths)
    expected = {place for path in paths for place in marked(path, "wrong|error: .+")}
    assert {place: found[place] for place in found.keys() - expected} == {}, "errors in right lines"
    assert expected - found.keys() == set(), "wrong lines without an error"


@pytest.mark.parametrize("mark", ["right", "wrong"])
def test_there_are_forty_calls_of_each_kind(mark):
    assert len(marked(HERE / f"{mark}.py", mark)) >= AT_LEAST
