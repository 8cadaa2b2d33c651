"""What a listener makes of the server's clock when that was set, and what a claim makes of it."""

import pytest
from rig.keyspace import contents
from seeds import event, seed

from celery_dtimer.timer.listening.server_clock import TOLERANCE, ServerClock

PATIENCE = 10.0


@pytest.fixture
def clock():
    """Told at 100 s, by its own clock, that the server's stands at 5000 s."""
    clock = ServerClock(PATIENCE)
    clock.heard(5000.0, 100.0, 100.0)
    return clock


def test_nothing_is_said_before_anything_was_heard():
    assert ServerClock(PATIENCE).lapsed_ms(1.0) is None


def test_leases_lapse_by_a_clock_that_runs_as_it_should(clock):
    for second in range(1, 100):
        assert clock.lapsed_ms(100.0 + second) >= (5000 + second) * 1000
        # A drift, or a slow answer.
        clock.heard(5000.0 + second + second / 1000, 100.0 + second, 100.2 + second)
    assert clock.lapsed_ms(200.0) == pytest.approx((5100.1 + TOLERANCE) * 1000, abs=1)


def test_a_step_forward_counts_after_the_patience_and_not_before(clock):
    for second in range(1, int(PATIENCE) + 1):
        clock.heard(5300.0 + second, 100.0 + second, 100.0 + second)
        assert clock.lapsed_ms(100.0 + second) == (5000 + second + TOLERANCE) * 1000
    clock.heard(5311.0, 111.0, 111.0)
    assert clock.lapsed_ms(111.0) == (5311 + TOLERANCE) * 1000


def test_a_step_back_counts_at_once(clock):
    clock.heard(4700.0, 100.0, 100.0)
    assert clock.lapsed_ms(100.0) == (4700 + TOLERANCE) * 1000


def test_a_step_that_is_taken_back_is_forgotten(clock):
    clock.heard(5301.0, 101.0, 101.0)
    clock.heard(5002.0, 102.0, 102.0)
    clock.heard(5320.0, 120.0, 120.0)
    assert clock.lapsed_ms(120.0) == (5020 + TOLERANCE) * 1000


def test_a_claim_leaves_leases_that_lapse_later_than_it_is_told_and_promises_to_come_back(
    store, claim, redis_client, now_ms
):
    seed(store, event("x"))
    claim(lease_ms=-1000)
    told = now_ms() - 61_000

    def claim_with(lapsed_ms):
        call = store.claim(
            ["default"], listener="me", holder="h", nonce=f"n{lapsed_ms}", room=1, lease_ms=0, lapsed_ms=lapsed_ms
        )
        return store.read_claim(store.ask(call), ["default"])

    left = claim_with(told)
    assert left.deliveries == []
    assert 55 < left.wait < 60.1
    assert contents(redis_client)["promise"]["default"].endswith(" me")
    assert [delivery.id for delivery in claim_with(now_ms()).deliveries] == ["x"]
