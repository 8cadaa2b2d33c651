"""Whether a worker's listener progresses: by what the worker says, or, while it is silent, by what Redis sees."""

import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from celery_dtimer.errors import DTimerError
from celery_dtimer.extension import Extension, extension_of
from celery_dtimer.operating.doctor import answers
from celery_dtimer.operating.doctor_workers import is_stuck
from celery_dtimer.operating.workers import stuck_after, timers_of_workers

#: Seconds for a probe's answers: a worker that can answer does so in milliseconds.
TIMEOUT = 2.0


@dataclass(frozen=True)
class Probe:
    """What a liveness probe saw.

    Attributes:
        workers: Names of the workers with a timer that it found.
        stuck: Of those, whose listener makes no rounds although Redis answers.
        silent: Of those, which did not answer; Redis told when their listeners made a round.
        limit: Seconds without a round after which a listener is stuck.
    """

    workers: list[str]
    stuck: list[str]
    silent: list[str]
    limit: float


def look(app: Any, name: str | None = None, *, timeout: float = TIMEOUT, limit: float | None = None) -> Probe:
    """Look at the worker of a name, or at all of this host.

    Args:
        app: The app.
        name: The worker's name; None: all workers of this host.
        timeout: Seconds after which it returns.
        limit: Seconds without a round after which a listener is stuck; None: see ``stuck_after``.
    """
    until = time.monotonic() + timeout
    extension = extension_of(app)
    limit = stuck_after(extension.settings) if limit is None else limit
    seen: dict[str, float] = {}
    is_up = threading.Event()

    def ask_redis() -> None:
        if answers(extension):
            is_up.set()
            seen.update(_listeners(extension))

    asking = threading.Thread(target=ask_redis, daemon=True)
    asking.start()
    reports = timers_of_workers(app, [name] if name else None, timeout=timeout, patience=timeout) or {}
    asking.join(max(0.0, until - time.monotonic()))
    idle = seen.copy()
    here = f"@{socket.gethostname()}"
    workers = sorted(each for each in {*reports, *idle} if (each == name if name else each.endswith(here)))
    stuck = [each for each in workers if (is_stuck(reports[each], limit) if each in reports else idle[each] > limit)]
    # A restart of the worker does not bring Redis back.
    return Probe(workers, stuck if is_up.is_set() else [], [each for each in workers if each not in reports], limit)


def _listeners(extension: Extension) -> dict[str, float]:
    try:
        return extension.shards.listeners()
    except (RedisError, DTimerError, OSError):
        return {}  # an ACL may forbid that; the worker's own answer counts then
