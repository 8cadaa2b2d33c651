"""What the tests of the worker share; the rest is in rig/timed.py."""

from pathlib import Path

import pytest


@pytest.fixture
def app_file(request):
    """The project with the timer, for all but the rig's own tests."""
    name = "plain.py" if request.path.name == "test_rig.py" else "timed.py"
    return Path(__file__).parent / "apps" / name
