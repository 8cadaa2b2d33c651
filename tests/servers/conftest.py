"""What the servers' own tests share."""

from pathlib import Path

import pytest


@pytest.fixture
def app_file():
    """The same project as the worker's tests have."""
    return Path(__file__).parents[1] / "worker" / "apps" / "timed.py"
