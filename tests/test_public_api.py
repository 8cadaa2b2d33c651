"""The public names and their signatures are those of public_api.txt: what users may rely on changes in sight."""

from difflib import unified_diff
from pathlib import Path

from public_api import lines

HELD = Path(__file__).parent / "public_api.txt"


WANTED = "if the change is wanted: python tests/public_api.py > tests/public_api.txt, and a line in CHANGELOG.md"


def test_every_public_name_has_the_signature_that_is_kept_and_no_other_is_public():
    is_so, was_so = list(lines()), HELD.read_text("utf-8").splitlines()
    changes = list(unified_diff(was_so, is_so, "public_api.txt", "now", lineterm="", n=0))
    assert not changes, "\n".join([*changes, WANTED])
