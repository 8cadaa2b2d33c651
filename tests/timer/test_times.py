"""What callers give as times, in whole milliseconds: never less than they said, hardly more."""

import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_dtimer.errors import InvalidDelayError
from celery_dtimer.timer.times import EPOCH, LAST_MS, delay_to_ms, eta_to_ms, ms_to_datetime

CENTURIES = 86_400.0 * 365 * 1000


@given(st.floats(0, CENTURIES))
def test_a_delay_is_rounded_up_by_less_than_a_millisecond(seconds):
    milliseconds = delay_to_ms(seconds)
    assert isinstance(milliseconds, int)
    assert -1e-3 < milliseconds - seconds * 1000 < 1.001


@pytest.mark.parametrize(
    ("delay", "expected_ms"),
    [
        (0, 0),
        (1, 1000),
        (0.001, 1),
        (0.0001, 1),
        (1e-9, 1),
        (5e-324, 1),
        (1.0005, 1001),
        (86_400, 86_400_000),
        (Decimal("1.5"), 1500),
        (Decimal("0.0001"), 1),
        (Fraction(1, 3), 334),
        (timedelta(days=1), 86_400_000),
        (timedelta(microseconds=1), 1),
        (timedelta(milliseconds=7), 7),
        (-1, 0),
        (-0.0, 0),
        (-1e-9, 0),
        (-1e308, 0),
        (timedelta(days=-1), 0),
        (timedelta.min, 0),
    ],
    ids=repr,
)
def test_a_delay_in_any_form_is_milliseconds_from_now_on(delay, expected_ms):
    assert delay_to_ms(delay) == expected_ms


@given(st.timedeltas(timedelta(), timedelta(days=200_000)))
def test_a_timedelta_is_rounded_up_to_the_next_millisecond(delta):
    assert delay_to_ms(delta) == -(-delta // timedelta(milliseconds=1))


@pytest.mark.parametrize(
    "delay",
    [10**400, 10**12, 1e300, 1e308, 1.7e308, Decimal("1e400"), Fraction(10**400), timedelta.max],
    ids=lambda delay: type(delay).__name__,
)
def test_a_delay_beyond_the_year_9999_is_refused(delay):
    with pytest.raises(InvalidDelayError) as caught:
        delay_to_ms(delay)
    assert (caught.value.argument, caught.value.value) == ("delay", delay)


@pytest.mark.parametrize("delay", [-(10**400), Fraction(-(10**400))], ids=lambda delay: type(delay).__name__)
def test_a_very_negative_delay_is_now(delay):
    assert delay_to_ms(delay) == 0


@pytest.mark.parametrize(
    "delay",
    [math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")],
    ids=repr,
)
def test_a_delay_that_is_not_finite_is_refused(delay):
    with pytest.raises(InvalidDelayError, match="finite"):
        delay_to_ms(delay)


@given(st.datetimes(timezones=st.timezones() | st.just(UTC)))
def test_an_eta_is_rounded_up_whatever_its_zone(eta):
    exact = (eta - EPOCH) / timedelta(milliseconds=1)
    assert eta_to_ms(eta) == max(1, -(-(eta - EPOCH) // timedelta(milliseconds=1)))
    assert eta_to_ms(eta) - max(1, exact) < 1.1


@given(st.integers(1, LAST_MS))
def test_an_instant_goes_to_a_datetime_and_back(instant_ms):
    assert eta_to_ms(ms_to_datetime(instant_ms)) == instant_ms


def test_an_eta_in_the_hour_that_comes_twice_is_the_one_its_fold_says():
    zone = ZoneInfo("Europe/Berlin")
    first, second = (datetime(2026, 10, 25, 2, 30, tzinfo=zone, fold=fold) for fold in (0, 1))
    assert eta_to_ms(first) == eta_to_ms(datetime(2026, 10, 25, 0, 30, tzinfo=UTC))
    assert eta_to_ms(second) - eta_to_ms(first) == 3_600_000


def test_an_eta_in_the_hour_that_is_left_out_is_an_instant_all_the_same():
    missing = datetime(2026, 3, 29, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert eta_to_ms(missing) == eta_to_ms(datetime(2026, 3, 29, 1, 30, tzinfo=UTC))


@pytest.mark.parametrize("offset", [-14, 0, 14])
def test_the_first_and_the_last_datetime_of_any_zone_are_etas(offset):
    zone = timezone(timedelta(hours=offset))
    assert eta_to_ms(datetime.min.replace(tzinfo=zone)) == 1
    last_ms = eta_to_ms(datetime.max.replace(tzinfo=zone))
    assert ms_to_datetime(last_ms).year == 9999


def test_an_instant_beyond_the_year_9999_is_said_as_its_last_millisecond():
    assert ms_to_datetime(LAST_MS + 1) == ms_to_datetime(LAST_MS)
    assert ms_to_datetime(LAST_MS) == datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
