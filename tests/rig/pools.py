"""The worker pools that the suite covers, and in which of them a test runs every time."""

from typing import Any

import pytest

#: Workers of the last two are monkey-patched, and run without a hub over every broker.
POOLS = ("prefork", "threads", "solo", "gevent", "eventlet")


def pools(*usual: str) -> list[Any]:
    """Return all pools as parameters; those that are not named are ``slow``: ``make test-all`` runs them."""
    return [pool if pool in usual else pytest.param(pool, marks=pytest.mark.slow) for pool in POOLS]
