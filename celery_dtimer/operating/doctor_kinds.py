"""The kinds of findings of the doctor, and what its checks are given."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from celery_dtimer.extension import Extension

#: The name of a kind, and what was found.
Found = tuple[str, str]


class Subject(NamedTuple):
    """What is examined.

    Attributes:
        app: The Celery app.
        extension: Its timer.
        reports: What each worker with a timer says of itself, by the worker's name; None: nobody could be asked.
    """

    app: Any
    extension: Extension
    reports: Mapping[str, Any] | None

    @property
    def workers(self) -> Mapping[str, Any]:
        """The reports.

        Raises:
            LookupError: Nobody could be asked.
        """
        if self.reports is None:
            raise LookupError("the broker does not answer, so that no worker was asked")
        return self.reports


@dataclass(frozen=True)
class Kind:
    """A kind of finding, see ``Finding``."""

    severity: Literal["error", "warning"]
    consequence: str
    remedy: str


KINDS = {
    "server-too-old": Kind("error", "The timer's scripts fail.", "Use Redis 6.2 or later, or Valkey."),
    "cluster-behind-plain-url": Kind(
        "error", "Commands for slots of other nodes fail.", "Write the URL as redis+cluster://."
    ),
    "evicts-keys": Kind(
        "error", "A full Redis may delete the key that holds all events.", "Set maxmemory-policy to noeviction."
    ),
    "nearly-full": Kind(
        "warning", "A full Redis refuses posts.", "Raise maxmemory, or give the timer a Redis of its own."
    ),
    "no-persistence": Kind("error", "A restart of Redis loses every event.", "Set appendonly to yes, see durability."),
    "save-failed": Kind(
        "error", "A restart loses what was not saved; Redis may refuse posts.", "Read Redis' log; check its disk."
    ),
    "replica-lag": Kind("warning", "A failover loses what the replica lacks.", "Check the replica and its network."),
    "too-few-replicas": Kind(
        "error", "Every post raises NotReplicatedError.", "Start replicas, or lower dtimer_wait_replicas."
    ),
    "clock-offset": Kind(
        "warning", "An eta computed on that host is off by as much.", "Run NTP on the host and on Redis' host."
    ),
    "layout-differs": Kind(
        "error",
        "This process can neither post nor claim.",
        "Give all processes one version and one dtimer_shards.",
    ),
    "nobody-listens": Kind(
        "error", "Its tasks do not run.", "Start a worker with the timer that consumes the queue (-Q)."
    ),
    "overdue": Kind("warning", "Tasks run late.", "Add workers, or look for long tasks and paused workers."),
    "catching-up": Kind(
        "warning",
        "A catch-up limit delays them on purpose.",
        "Wait, or raise or end the limit with celery dtimer catch-up.",
    ),
    "lease-lapsed": Kind("error", "The task waits for a redelivery.", "Start a worker for the queue."),
    "lease-near-lapse": Kind(
        "warning", "The task may run twice.", "Look for a frozen or cut-off worker; raise dtimer_confirm_timeout."
    ),
    "holder-gone": Kind(
        "warning", "The task is redelivered when its lease lapses.", "See why the worker does not answer."
    ),
    "parked": Kind("warning", "These tasks do not run.", "See celery dtimer parked; replay or drop them."),
    "damaged": Kind(
        "error", "The events of these records do not run.", "See DTimer.damaged(); find who else writes to this Redis."
    ),
    "big-payload": Kind(
        "warning", "Big messages fill Redis and slow down claims.", "Pass a reference instead of the data."
    ),
    "wake-token-stuck": Kind(
        "warning", "Due tasks wait for the next poll.", "Look for workers that are full, paused or cut off."
    ),
    "settings-differ": Kind(
        "error", "Workers look for events in other places, or under other rules.", "Deploy one configuration."
    ),
    "versions-differ": Kind(
        "warning", "New features do not work in old workers.", "Finish the deploy of celery-dtimer."
    ),
    "worker-paused": Kind("warning", "It fires nothing.", "Run celery control dtimer_resume."),
    "worker-cut-off": Kind("error", "It claims nothing.", "Check its network, URL and password."),
    "listener-stuck": Kind("error", "It claims nothing, and its leases lapse.", "Restart the worker."),
    "visibility-timeout": Kind(
        "warning",
        "The broker delivers a task again that a worker still holds: it runs twice.",
        "Raise visibility_timeout, or lower dtimer_takeover.",
    ),
}
