"""What the tests of the worker share."""

from pathlib import Path

import pytest
from rig.waiting import wait_until


def pytest_terminal_summary(terminalreporter):
    """Show the matrix of outcomes as it was observed."""
    found = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "outcome" and report.when == "call":
                    outcome, pool, observed = value
                    found.setdefault(outcome, {})[pool] = observed
    if found:
        terminalreporter.section("outcomes")
        for outcome, pools in found.items():
            by_observed = {}
            for pool, observed in pools.items():
                by_observed.setdefault(observed, []).append(pool)
            told = "; ".join(f"{observed}: {', '.join(sorted(of))}" for observed, of in by_observed.items())
            terminalreporter.write_line(f"{outcome} -> {told}")


@pytest.fixture
def app_file(request):
    """The project with the timer, for all but the rig's own tests."""
    name = "plain.py" if request.path.name == "test_rig.py" else "timed.py"
    return Path(__file__).parent / "apps" / name


@pytest.fixture
def proj(worker_app):
    """The project's module, as a process that posts has it."""
    return worker_app.module


@pytest.fixture
def timer(proj):
    """The project's timer."""
    from celery_dtimer import get_timer

    return get_timer(proj.app)


@pytest.fixture
def wait_for_records(proj):
    """Wait until so many records of an event (``start`` or ``end``) are there, and return all records."""

    def wait(count, event="start", timeout=20.0):
        def enough():
            rows = [row for row in proj.records() if row["event"] == event]
            return rows if len(rows) >= count else None

        return wait_until(enough, f"{count} records of {event!r}", timeout)

    return wait


@pytest.fixture
def wait_until_empty(timer):
    """Wait until the timer holds nothing: the last confirm has arrived."""

    def wait(timeout=15.0):
        def empty():
            counts = timer.count()
            return counts.pending == counts.leased == counts.parked == 0

        wait_until(empty, "an empty timer", timeout)

    return wait
