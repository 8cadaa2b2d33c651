"""The incident drill, with some thousands of events: its steps work together. Its figures are for a quiet machine."""

import subprocess
import sys
from pathlib import Path

import pytest

DRILL = Path(__file__).parent / "drill"

#: Promises that do not depend on how busy the machine is.
CERTAIN = (
    "at most 6 commands",
    "each succeeds",
    "what is held does not run",
    "what is cancelled by its tag never runs",
    "what was parked runs",
)


@pytest.mark.slow
def test_the_incident_drill_puts_a_small_outage_right():
    few = ["--events", "3000", "--rate", "200", "--seconds", "3", "--window", "4", "--parked", "50", "--hold-first"]
    done = subprocess.run([sys.executable, DRILL, *few], capture_output=True, text=True, timeout=110, check=False)
    lines = done.stdout.splitlines()
    for promise in CERTAIN:
        [line] = [line for line in lines if line.startswith(promise)]
        assert "  yes " in line, done.stdout + done.stderr
    assert done.returncode == (1 if any("  NO  " in line for line in lines) else 0), done.stdout + done.stderr
