"""What callers give as times, in whole milliseconds: never less than they said, hardly more."""

import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_dtimer.errors import InvalidDelayError, InvalidEventError
from celery_dtimer.timer.options import seconds
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


def foreign(name):
    """An operator of a subclass that does not get on with the plain class."""

    def operator(*operands):
        raise AttributeError(f"{name} of {operands}")

    return operator


OPERATORS = ("add", "radd", "sub", "rsub", "neg", "pos", "abs", "mul", "truediv", "floordiv", "mod", "divmod")
Span = type("Span", (timedelta,), {f"__{name}__": foreign(name) for name in OPERATORS})
Instant = type("Instant", (datetime,), {f"__{name}__": foreign(name) for name in OPERATORS})


@given(st.timedeltas(timedelta(), timedelta(days=200_000)))
def test_a_timedelta_of_a_subclass_is_read_as_one_of_no_subclass(delta):
    span = Span(delta.days, delta.seconds, delta.microseconds)
    assert delay_to_ms(span) == delay_to_ms(delta)
    assert seconds("span", None).check(span) == delta.total_seconds()


@given(st.datetimes(timezones=st.timezones() | st.just(UTC) | st.none()))
def test_a_datetime_of_a_subclass_is_read_as_one_of_no_subclass(eta):
    instant = Instant(*eta.timetuple()[:6], eta.microsecond, eta.tzinfo, fold=eta.fold)
    assert eta_to_ms(instant, naive_in_utc=True) == eta_to_ms(eta, naive_in_utc=True)
    if eta.tzinfo is not None:
        assert eta_to_ms(instant) == eta_to_ms(eta)


def test_a_naive_eta_is_refused_unless_it_is_to_be_in_utc():
    naive = datetime(2030, 1, 1, 12)  # noqa: DTZ001 - that is the point
    with pytest.raises(InvalidDelayError, match="naive"):
        eta_to_ms(naive)
    assert eta_to_ms(naive, naive_in_utc=True) == eta_to_ms(naive.replace(tzinfo=UTC))


class NotATime(datetime):
    """What pandas has for that."""

    def utcoffset(self):
        raise ValueError("no utcoffset")


def test_a_datetime_that_is_no_instant_is_refused():
    with pytest.raises(InvalidDelayError, match="no utcoffset"):
        eta_to_ms(NotATime(2030, 1, 1))


@pytest.mark.parametrize(
    ("span", "expected"),
    [(2, 2), (2.5, 2.5), (Decimal("2.5"), 2.5), (Fraction(5, 2), 2.5), (timedelta(seconds=2.5), 2.5)],
)
def test_a_span_is_a_number_of_any_kind_or_a_timedelta(span, expected):
    assert seconds("span", None, least=1, most=5).check(span) == expected


@pytest.mark.parametrize(
    "span", [True, "2", None, 0, 6, timedelta(seconds=6), math.nan, math.inf, Decimal("sNaN"), 10**400]
)
def test_a_span_that_is_none_or_out_of_its_range_is_refused(span):
    with pytest.raises(
        InvalidEventError, match="^span must be a finite number of seconds or a timedelta, 1 s to 5 s, got "
    ):
        seconds("span", None, least=1, most=5).check(span)


class Unitless(int):
    """A span of NumPy's, which is a number of an unknown unit."""

    dtype = type("dtype", (), {"kind": "m"})()


def test_a_number_whose_unit_nobody_knows_is_refused():
    with pytest.raises(InvalidDelayError, match="Unitless"):
        delay_to_ms(Unitless(5))
