"""What type checkers take for right is right: the calls of typing_tests/right.py run."""

import os
import subprocess
import sys

from rig.recipes import IMPORTED, REPOSITORY


def test_the_calls_that_are_right_to_type_checkers_run(redis_url, redis_client):
    environment = {**os.environ, "PYTHONPATH": IMPORTED, "DTIMER_URL": redis_url}
    command = [sys.executable, REPOSITORY / "typing_tests" / "right.py"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "import_books" in ran.stdout
