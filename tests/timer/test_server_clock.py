"""What a listener makes of the server's clock when that was set, and what a claim makes of it."""

import random
import statistics

import pytest
from rig.keyspace import contents
from seeds import event, seed

from celery_dtimer.timer.listening.server_clock import DRIFT, GAIN, TOLERANCE, ServerClock, Zero

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


# --- the instant at which the server's clock stood at 0


def test_zero_is_never_before_the_true_one_and_gets_closer_to_it():
    zero, chance, true = Zero(), random.Random(0), -5000.0
    latest = []
    now = 100.0
    for _ in range(500):
        now += chance.uniform(0.001, 0.05)
        answered = now + chance.uniform(0, 0.004)
        latest.append(zero.heard(answered - true, now, answered + chance.uniform(0.0002, 0.004)))
    assert min(latest) > true
    # Each alone is 2.1 ms off, on an average.
    assert statistics.mean(latest[50:]) < true + 0.0018


def test_zero_follows_clocks_that_drift_apart_as_fast_as_linux_lets_them():
    zero = Zero()
    for rate in (DRIFT, -DRIFT):
        zero.forget()
        for i in range(2000):
            now = 100.0 + i / 20
            true = -5000.0 + rate * (now - 100.0)
            assert -1e-6 < zero.heard(now + 0.0003 - true, now, now + 0.0006) - true < 0.002


@pytest.mark.parametrize("step", [300.0, 0.002, -0.002, -300.0])
def test_zero_begins_anew_when_a_clock_was_set_by_more_than_a_round_trip_or_a_host_slept(step):
    zero = Zero()
    zero.heard(5100.0, 100.0, 100.0005)
    assert zero.heard(5101.0 + step, 101.0, 101.0005) == pytest.approx(-4999.9995 - step, abs=1e-6)


def test_zero_is_too_early_after_a_step_back_of_less_than_a_round_trip_by_that_step_and_for_a_second_only():
    zero, step = Zero(), 0.0004
    zero.heard(5100.0, 99.9999, 100.0)
    early = []
    for tenth in range(1, 20):
        now = 100.0 + tenth / 10
        early.append(-5000.0 + step - zero.heard(5000.0 + now - step, now - 0.0005, now + 0.0005))
    assert 0 < max(early) < step
    assert max(early[9:]) < 1e-6


def test_zero_is_at_most_the_gain_before_that_of_the_last_answer():
    zero = Zero()
    zero.heard(5100.0, 99.9999, 100.0)
    assert zero.heard(5100.1, 100.1, 100.118) == pytest.approx(-4999.982 - GAIN, abs=1e-6)


def test_an_answer_that_took_long_may_come_from_another_server_and_counts_alone():
    zero = Zero()
    zero.heard(5100.0, 100.0, 100.0)
    # Within two seconds, a replica was promoted, whose clock is behind by one.
    assert zero.heard(5101.0, 100.0, 102.0) == -4999.0


def test_zero_forgets_what_another_server_said():
    zero = Zero()
    zero.heard(5100.0, 99.9999, 100.0)
    zero.forget()
    assert zero.heard(5100.1, 100.1, 100.11) == pytest.approx(-4999.99, abs=1e-6)
