"""What is wrong with a timer, its Redis, broker and workers: looked for by small checks, which change no event."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from celery_dtimer.errors import DTimerError, SettingsError
from celery_dtimer.extension import Extension, extension_of
from celery_dtimer.operating import doctor_events, doctor_server, doctor_workers
from celery_dtimer.operating.doctor_kinds import KINDS, Found, Subject
from celery_dtimer.operating.workers import connected, timers_of_workers

CHECKS: tuple[Callable[[Subject], Iterable[Found]], ...] = (
    *doctor_server.CHECKS,
    *doctor_events.CHECKS,
    *doctor_workers.CHECKS,
)


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        name: Of its kind, in ``KINDS``.
        severity: ``"error"``: tasks are lost, late or run twice; ``"warning"``: they may be.
        found: What was found, and where.
        consequence: What comes of it.
        remedy: What to do.
    """

    name: str
    severity: str
    found: str
    consequence: str
    remedy: str


@dataclass(frozen=True)
class NotChecked:
    """A check that could not be made, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """What all checks found.

    Attributes:
        findings: What is wrong.
        not_checked: The checks that could not be made.
        reachable: Whether the timer's Redis answered.
        workers: Names of the workers with a timer that answered; None: the broker did not answer.
    """

    findings: list[Finding]
    not_checked: list[NotChecked]
    reachable: bool
    workers: list[str] | None


def examine(app: Any) -> Diagnosis:
    """Make every check of an app's timer.

    Raises:
        SettingsError: The app's settings are wrong.
        NotInstalledError: The app has no timer.
    """
    extension = extension_of(app)
    reachable = answers(extension)
    reports = timers_of_workers(app, expected=connected(extension) if reachable else set())
    return diagnose(app, extension, reports, reachable=reachable)


def diagnose(app: Any, extension: Extension, reports: Mapping[str, Any] | None, *, reachable: bool = True) -> Diagnosis:
    """Make every check, with what the workers have reported; None: nobody could be asked."""
    subject = Subject(app, extension, reports)
    findings: list[Finding] = []
    not_checked: list[NotChecked] = []
    for check in CHECKS:
        name = check.__name__
        if not reachable and check not in doctor_workers.CHECKS:
            not_checked.append(NotChecked(name, "the timer's Redis does not answer"))
            continue
        try:
            found = list(check(subject))
        except SettingsError as exc:
            found = [("layout-differs", str(exc))]
        except (RedisError, DTimerError, OSError, LookupError, ValueError, TypeError) as exc:
            not_checked.append(NotChecked(name, str(exc) or type(exc).__name__))
            continue
        for kind, text in found:
            finding = Finding(kind, KINDS[kind].severity, text, KINDS[kind].consequence, KINDS[kind].remedy)
            if finding not in findings:
                findings.append(finding)
    return Diagnosis(findings, not_checked, reachable, None if reports is None else sorted(reports))


def answers(extension: Extension) -> bool:
    """Whether every server of the timer answers."""
    try:
        for client in extension.shards.masters():
            client.time()
    except (RedisError, OSError):
        return False
    return True
