"""What a test does to an app, for a while, to decide what time it is for the app's timer."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any

from celery_dtimer.celery_patches.apps import behind_proxy
from celery_dtimer.celery_patches.testing import expiring, not_always_eager, results_in_memory
from celery_dtimer.extension import ATTRIBUTE, Extension
from celery_dtimer.posting.install import install
from celery_dtimer.posting.options import POSTING_OPTION
from celery_dtimer.posting.sending import posting_for
from celery_dtimer.testing.clock import read_clock
from celery_dtimer.testing.extension import KnownStep, VirtualExtension
from celery_dtimer.testing.servers import url_for_tests
from celery_dtimer.testing.timer import VirtualTimer
from celery_dtimer.timer.listening import shard_round
from celery_dtimer.timer.times import ms_to_datetime


@contextmanager
def virtual_timer(
    app: Any, *, url: str | None = None, results: str = "memory", patience: float = 10.0
) -> Iterator[VirtualTimer]:
    """Let a test decide what time it is for the timer of an app.

    Meanwhile the app's events are in a namespace of their own, which is deleted at the end, and its results in this
    process. An app without a timer gets one.

    Args:
        app: The Celery app.
        url: The Redis; by default the one that the environment variable DTIMER_TEST_URL names, or else an embedded
            server, which is started once a process.
        results: ``"memory"``, or ``"app"`` to keep the results where the app's configuration says.
        patience: Seconds that ``advance`` waits for a worker at each instant.

    Raises:
        RuntimeError: There is no Redis to test with, the app's timer is virtual already, or a worker of the app has
            started before.
        ValueError: ``results`` is neither.
    """
    if results not in ("memory", "app"):
        raise ValueError(f"results must be 'memory' or 'app', got {results!r}")
    app = behind_proxy(app)
    before = getattr(app, ATTRIBUTE, None)
    if not isinstance(before, Extension):
        install(app)
        before = getattr(app, ATTRIBUTE)
    taken = ""
    if isinstance(before, VirtualExtension):
        taken = "the app's timer is a virtual one already: end that before another begins"
    elif before.is_held:
        taken = (
            "a worker of this app listens already, and keeps to the settings that it began with: start it after the "
            "virtual timer (a celery_session_worker can't be used, celery_worker can)"
        )
    if taken:
        raise RuntimeError(taken)
    fixed = {
        "url": url_for_tests(url),
        "namespace": f"test-{uuid.uuid4().hex}",
        # Of the production's Redis and workers.
        "wait_replicas": 0,
        "eviction_check": "ignore",
        "metrics_port": None,
    }
    extension = VirtualExtension(app, {**before.given, **fixed})
    timer = VirtualTimer(extension, patience)
    with ExitStack() as undone:
        undone.enter_context(_attached(app, before, extension))
        undone.callback(extension.delete)
        if results == "memory":
            undone.enter_context(results_in_memory(app))
        undone.enter_context(not_always_eager(app, lambda call: _is_timers(extension, call)))
        undone.enter_context(expiring(app, lambda seconds: _in(extension, seconds)))
        undone.enter_context(_never_ahead())
        app.steps["consumer"].add(KnownStep)
        undone.callback(app.steps["consumer"].discard, KnownStep)
        undone.enter_context(timer._watching())  # noqa: SLF001 - its own
        yield timer


@contextmanager
def _attached(app: Any, before: Extension, extension: Extension) -> Iterator[None]:
    setattr(app, ATTRIBUTE, extension)
    try:
        yield
    finally:
        setattr(app, ATTRIBUTE, before)


@contextmanager
def _never_ahead() -> Iterator[None]:
    """Let no listener of this process claim anything that is not due yet: its time may never come."""
    before = shard_round.AHEAD_MS
    shard_round.AHEAD_MS = 0
    try:
        yield
    finally:
        shard_round.AHEAD_MS = before


def _in(extension: VirtualExtension, seconds: float) -> datetime:
    # A pool's process has a copy of the extension, whose own clock nobody sets.
    return ms_to_datetime(read_clock(extension.shards)) + timedelta(seconds=seconds)


def _is_timers(extension: Extension, call: Mapping[str, Any]) -> bool:
    """Whether a call of a task goes to the timer; the others of an app with ``task_always_eager`` run at once."""
    return call.get(POSTING_OPTION) is not None or posting_for(extension, call) is not None
