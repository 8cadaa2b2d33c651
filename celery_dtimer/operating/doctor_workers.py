"""The doctor's checks of the workers, by what they report, and of the broker's settings."""

from collections.abc import Iterator
from typing import Any

from celery_dtimer.operating.doctor_kinds import Found, Subject
from celery_dtimer.operating.workers import stuck_after

#: Seconds that a worker may fail to reach Redis.
CUT_OFF = 10.0

#: kombu's defaults of visibility_timeout, in seconds.
VISIBILITY = {"redis": 3600, "sqs": 1800}


def is_stuck(report: Any, limit: float) -> bool:
    """Whether a worker's listener has made no round for more than ``limit`` seconds; one that does not say is not."""
    return bool(report.get("redis", {}).get("last_round", 0.0) > limit)


def differences(subject: Subject) -> Iterator[Found]:
    """Whether the workers agree."""
    for field, kind in (("version", "versions-differ"), ("namespace", "settings-differ")):
        yield from _differing(kind, field, {name: report.get(field) for name, report in _all(subject)})
    settings = {name: report.get("settings", {}) for name, report in _all(subject)}
    for field in sorted({field for values in settings.values() for field in values}):
        values = {name: found[field] for name, found in settings.items() if field in found}
        yield from _differing("settings-differ", f"dtimer_{field}", values)


def _all(subject: Subject) -> list[tuple[str, Any]]:
    return sorted(subject.workers.items())


def _differing(kind: str, field: str, values: dict[str, Any]) -> Iterator[Found]:
    of: dict[str, str] = {}
    for name, value in values.items():
        of.setdefault(repr(value), name)
    if len(of) > 1:
        yield kind, f"{field} is " + ", ".join(f"{value} on {name}" for value, name in of.items())


def progress(subject: Subject) -> Iterator[Found]:
    """Whether each fires."""
    limit = stuck_after(subject.extension.settings)
    for name, report in _all(subject):
        redis = report.get("redis", {})
        if report.get("paused"):
            yield "worker-paused", f"{name} is paused by an operator"
        if redis.get("failing_for", 0.0) > CUT_OFF:
            yield "worker-cut-off", f"{name} has not reached the timer's Redis for {redis['failing_for']:.0f} s"
        elif is_stuck(report, limit):
            yield "listener-stuck", f"the listener of {name} made its last round {redis['last_round']:.0f} s ago"


def visibility(subject: Subject) -> Iterator[Found]:
    """Whether the broker gives up before the worker does."""
    app, settings = subject.app, subject.extension.settings
    transport = app.connection_for_read().transport.driver_type
    if transport not in VISIBILITY:
        return
    timeout = float(app.conf.broker_transport_options.get("visibility_timeout", VISIBILITY[transport]))
    if settings.takeover is not None and settings.takeover > timeout:
        yield (
            "visibility-timeout",
            f"visibility_timeout is {timeout:g} s; delays up to dtimer_takeover ({settings.takeover:g} s) wait there",
        )
    if app.conf.task_acks_late and timeout < settings.confirm_timeout:
        yield (
            "visibility-timeout",
            f"visibility_timeout is {timeout:g} s, less than dtimer_confirm_timeout, {settings.confirm_timeout:g} s",
        )


CHECKS = (differences, progress, visibility)
