"""A worker fetches as many short tasks at a time as it starts meanwhile, and no more long ones than before."""

import time

import pytest

from celery_dtimer.firing import pace


def paced(monkeypatch, *looks):
    """The pace after some looks: (seconds since the last one, tasks started since then)."""
    now = [time.monotonic()]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    measured = pace.Pace()
    for seconds, started in looks:
        now[0] += seconds
        measured.started += started
        measured.per_second()
    return measured.per_second()


def test_the_pace_follows_what_was_started_lately(monkeypatch):
    assert 900 < paced(monkeypatch, *[(0.025, 25)] * 20) < 1001


def test_the_pace_of_a_worker_that_was_idle_is_that_of_now(monkeypatch):
    assert paced(monkeypatch, *[(0.025, 25)] * 20, (5.0, 1)) == pytest.approx(0.2)


def test_a_look_soon_after_another_changes_nothing(monkeypatch):
    assert paced(monkeypatch, (1.0, 10), (0.001, 500)) == pytest.approx(10)
