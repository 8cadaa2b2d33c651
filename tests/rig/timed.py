"""Fixtures for tests whose project is ``worker/apps/timed.py``, or one that writes the same records."""

from collections.abc import Callable
from types import ModuleType

import pytest

from celery_dtimer import TaskTimer, get_timer
from rig.projects import WorkerApp
from rig.waiting import wait_until


@pytest.fixture
def proj(worker_app: WorkerApp) -> ModuleType:
    """The project's module, as a process that posts has it."""
    return worker_app.module


@pytest.fixture
def timer(proj: ModuleType) -> TaskTimer:
    """The project's timer."""
    return get_timer(proj.app)


@pytest.fixture
def wait_for_records(proj: ModuleType) -> Callable[..., list[dict]]:
    """Wait until so many records of an event (``start`` or ``end``) are there, and return them."""

    def wait(count: int, event: str = "start", timeout: float = 20.0) -> list[dict]:
        def enough() -> list[dict] | None:
            rows = [row for row in proj.records() if row["event"] == event]
            return rows if len(rows) >= count else None

        return wait_until(enough, f"{count} records of {event!r}", timeout)

    return wait


@pytest.fixture
def wait_until_empty(timer: TaskTimer) -> Callable[..., None]:
    """Wait until the timer holds nothing: the last confirm has arrived."""

    def wait(timeout: float = 15.0) -> None:
        def empty() -> bool:
            counts = timer.count()
            return counts.pending == counts.leased == counts.parked == 0

        wait_until(empty, "an empty timer", timeout)

    return wait
