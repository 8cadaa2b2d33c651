"""What the tests over servers share that `make test` does without: RabbitMQ, and moto's SQS."""

from pathlib import Path

import pytest


@pytest.fixture
def app_file():
    """The same project as the worker's tests have."""
    return Path(__file__).parents[1] / "worker" / "apps" / "timed.py"
