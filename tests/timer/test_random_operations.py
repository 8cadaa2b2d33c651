"""The random driver of tests/attacks/protocol.py, with its damaged records, for a few hundred steps."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "attacks"))
import protocol
from test_model import Comparison


@pytest.mark.parametrize("seed", [1, 2])
def test_operations_drawn_at_random_do_what_the_model_does(seed, redis_url, redis_client, monkeypatch):
    monkeypatch.setattr(Comparison, "url", redis_url)
    monkeypatch.setattr(Comparison, "client", redis_client)
    done = protocol.drive(seed, 300)
    assert done.total() == 300
    assert done["damage"]
