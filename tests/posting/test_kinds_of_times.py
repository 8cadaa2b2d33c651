"""Times of every kind in every place that takes one: what a worker of plain Celery would have made of them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import arrow
import pendulum
import pytest
from celery.utils.time import maybe_iso8601

from celery_dtimer import DTimer, InvalidDelayError, SettingsError, get_timer, install
from celery_dtimer.settings import Settings, configured


class Subclass(datetime):
    pass


class Iso:
    """What has no more in common with a datetime than its text."""

    def isoformat(self):
        return "2035-01-02T03:04:05.678+01:00"


#: Instants as Celery takes them natively for an eta.
ETAS = {
    "datetime": datetime(2035, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    "naive": datetime(2035, 1, 2, 3, 4, 5),  # noqa: DTZ001 - that is the point
    "subclass": Subclass(2035, 1, 2, 3, 4, 5, tzinfo=UTC),
    "naive subclass": Subclass(2035, 1, 2, 3, 4, 5),
    "date": date(2035, 1, 2),
    "pendulum": pendulum.datetime(2035, 7, 2, 3, 4, 5, 678901, tz="Europe/Paris"),
    "naive pendulum": pendulum.naive(2035, 1, 2, 3, 4, 5),
    "pendulum's date": pendulum.date(2035, 1, 2),
    "arrow": arrow.get(2035, 1, 2, 3, 4, 5, 678901, tzinfo="Asia/Kathmandu"),
    "isoformat": Iso(),
    "text": "2035-01-02T03:04:05.678+01:00",
    "basic text": "20350102T030405Z",
    "text of a date": "2035-01-02",
    "week": "2035-W01-2",
}

#: Spans, and how many seconds they are.
SPANS = {
    "int": (90, 90),
    "float": (90.5, 90.5),
    "bool": (True, 1),
    "decimal": (Decimal("90.5"), 90.5),
    "fraction": (Fraction(181, 2), 90.5),
    "timedelta": (timedelta(minutes=1, milliseconds=5), 60.005),
    "duration": (pendulum.duration(minutes=5, microseconds=1), 300.001),
    "negative duration": (pendulum.duration(minutes=-5), 0),
    "duration of months": (pendulum.duration(months=1), 30 * 86400),
    "interval": (pendulum.datetime(2035, 1, 2) - pendulum.datetime(2035, 1, 1), 86400),
    "arrow's difference": (arrow.get(2035, 1, 2) - arrow.get(2035, 1, 1), 86400),
}

#: What Celery takes natively for a countdown.
COUNTDOWNS = {name: SPANS[name] for name in ("int", "float", "bool")}


@pytest.fixture
def native_instant(make_app, published):
    """The instant that a worker of plain Celery makes of a call."""
    app = make_app(installed=False)

    def native_instant(**options):
        app.send_task("native", **options)
        instant = maybe_iso8601(published(app).headers["eta"])
        return instant if instant.tzinfo else instant.replace(tzinfo=UTC)

    return native_instant


def up_to_the_millisecond(instant):
    """The timer's instants are whole milliseconds, and never early."""
    return instant + timedelta(microseconds=-instant.microsecond % 1000)


@pytest.mark.parametrize("name", ETAS)
def test_an_eta_of_any_kind_is_the_instant_of_plain_celery_in_every_place(app, add, timer, native_instant, name):
    eta, instant = ETAS[name], up_to_the_millisecond(native_instant(eta=ETAS[name]))
    install(app, takeover=1)
    assert add.post_at(eta, 1).peek().due_at == instant
    assert add.post((1,), eta=eta).peek().due_at == instant
    assert add.apply_async((1,), eta=eta).peek().due_at == instant
    assert add.s(1).set(eta=eta).delay().peek().due_at == instant
    assert app.send_task("add", (1,), eta=eta).peek().due_at == instant
    result = add.post_in(60, 1)
    assert result.change_eta(eta)
    assert result.peek().due_at == instant
    if isinstance(eta, datetime) and eta.tzinfo:
        event_id = timer.post(b"", eta=eta)
        assert timer.peek(event_id).due_at == instant
        assert timer.change_eta(event_id, eta)
    else:
        with pytest.raises(InvalidDelayError, match="naive|eta must be an aware datetime"):
            timer.post(b"", eta=eta)


@pytest.mark.parametrize("name", SPANS)
def test_a_span_of_any_kind_counts_from_now_in_every_place(app, add, timer, name):
    span, seconds = SPANS[name]
    install(app, takeover=0)

    def is_due(due_at, since):
        assert since <= due_at - timedelta(seconds=seconds) <= datetime.now(UTC) + timedelta(milliseconds=2)

    since = datetime.now(UTC) - timedelta(milliseconds=1)
    is_due(add.post_in(span, 1).peek().due_at, since)
    result = add.post((1,), delay=span)
    is_due(result.peek().due_at, since)
    if seconds:
        is_due(add.apply_async((1,), countdown=span).peek().due_at, since)
        add.post((1,), delay=5, task_id="debounced", on_conflict="postpone", max_wait=60 if span is True else span)
    assert result.change_delay(span)
    is_due(result.peek().due_at, since)
    if span is not True:
        event_id = timer.post(b"", span)
        is_due(timer.peek(event_id).due_at, since)
        assert timer.change_delay(event_id, span)
        if "negative" in name:
            return  # a delay that is over is none, but a span of time is refused
        assert get_timer(app).count(duration=span) is not None
        assert list(get_timer(app).upcoming(span, span, limit=1)) is not None


@pytest.mark.parametrize("name", COUNTDOWNS)
def test_a_countdown_is_due_when_plain_celery_would_have_run_it(app, add, native_instant, name):
    install(app, takeover=1)
    countdown, _ = COUNTDOWNS[name]
    native = native_instant(countdown=countdown)
    due_at = add.apply_async((1,), countdown=countdown).peek().due_at
    assert abs(due_at - native) < timedelta(seconds=5)


@pytest.mark.parametrize("span", [5, Decimal(5), Fraction(5), timedelta(seconds=5), pendulum.duration(seconds=5)])
def test_a_setting_of_seconds_takes_every_kind_of_span(make_app, redis_url, span):
    names = ("dtimer_confirm_timeout", "dtimer_poll_interval", "dtimer_takeover")
    app = make_app(dtimer_url=redis_url, **dict.fromkeys(names, span), dtimer_wait_timeout=span / 2)
    settings = Settings.of(app, configured(app, {}))
    assert (settings.confirm_timeout, settings.poll_interval, settings.takeover) == (5, 5, 5)
    assert settings.wait_timeout == 2.5
    with DTimer(redis_url, confirm_timeout=span, poll_interval=span, wait_timeout=span / 2) as timer:
        assert (timer.confirm_timeout, timer.poll_interval) == (5, 5)


@pytest.mark.parametrize("span", [True, "5", float("nan"), pendulum.datetime(2035, 1, 1)])
def test_a_setting_that_is_no_span_is_refused(make_app, redis_url, span):
    app = make_app(dtimer_url=redis_url, dtimer_confirm_timeout=span)
    with pytest.raises(SettingsError, match="dtimer_confirm_timeout must be "):
        Settings.of(app, configured(app, {}))


def test_what_plain_celery_can_not_read_is_refused_with_its_name(app, add, keyspace):
    install(app, takeover=1)
    for eta in (60, object(), "tomorrow", "12:00", datetime(2035, 1, 1, tzinfo=UTC).time()):
        with pytest.raises(InvalidDelayError, match="eta must be a datetime or ISO 8601 text, got ") as caught:
            add.apply_async((1,), eta=eta)
        assert caught.value.value is eta
    for countdown in ("60", [60], datetime(2035, 1, 1, tzinfo=UTC), float("nan")):
        with pytest.raises(InvalidDelayError, match="countdown must be a ") as caught:
            add.apply_async((1,), countdown=countdown)
        assert caught.value.argument == "countdown"
    assert keyspace() == {}
