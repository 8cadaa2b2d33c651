"""Events that are too late when their worker could start them: what their task, or the app, wants done with them."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from celery_dtimer.celery_patches.worker import handler_of_expired
from celery_dtimer.errors import InvalidEventError
from celery_dtimer.settings import Settings
from celery_dtimer.timer.events import Delivery
from celery_dtimer.timer.legible import legible
from celery_dtimer.timer.options import GRACE, MISFIRE

logger = logging.getLogger(__name__)

#: When a task that is dropped has expired.
LONG_AGO = "1970-01-01T00:00:00+00:00"


class Policy(NamedTuple):
    """What is done with an event that is later than the grace, in seconds: ``fire``, ``drop`` or ``park``."""

    misfire: str
    grace: float


class Misfires:
    """The misfire policies of a worker's tasks.

    Args:
        tasks: The app's.
        settings: Of the app; what a task does not say.
    """

    def __init__(self, tasks: Mapping[str, Any], settings: Settings) -> None:
        self._tasks = tasks
        self._default = Policy(settings.misfire, settings.misfire_grace)
        self._policies: dict[str, Policy] = {}
        self._told: set[str] = set()

    def decide(self, delivery: Delivery, fields: Any) -> Policy | None:
        """Return the policy by which a delivery is not fired; None if it is.

        One that was delivered before is fired: its task may have begun in time.
        """
        name = fields.get("task") if isinstance(fields, dict) else None
        if not isinstance(name, str):
            return None
        policy = self._policies.get(name) or self._read(name)
        if policy.misfire == "fire" or delivery.redeliveries:
            return None
        if time.monotonic() - delivery.due_monotonic <= policy.grace:
            return None
        if name not in self._told:
            self._told.add(name)
            logger.warning(
                "dtimer: task %s[%s] is %s, since it is later than its grace of %g s; so is all else of it that is",
                legible(name),
                legible(delivery.id),
                {"drop": "dropped", "park": "parked"}[policy.misfire],
                policy.grace,
                extra={"dtimer_event": delivery.id, "dtimer_task": name},
            )
        return policy

    def _read(self, name: str) -> Policy:
        options = getattr(self._tasks.get(name), "dtimer_options", None)
        options = options if isinstance(options, Mapping) else {}
        misfire, grace = options.get("misfire"), options.get("grace")
        try:
            policy = Policy(
                self._default.misfire if misfire is None else MISFIRE.check(misfire),
                self._default.grace if grace is None else GRACE.check(grace),
            )
        except InvalidEventError as exc:
            logger.error("dtimer: task %s fires its late events: %s", legible(name), exc, extra={"dtimer_task": name})  # noqa: TRY400 - no defect of ours
            policy = Policy("fire", 0.0)
        self._policies[name] = policy
        return policy


def hand_over_expired(consumer: Any, handler: Callable[[Any], None], event: Any, fields: dict[str, Any]) -> None:
    """Let Celery end a task as one that has expired: in its result backend, for its chord and for monitors.

    Args:
        consumer: The worker's ``celery.worker.consumer.Consumer``.
        handler: The consumer's.
        event: The message.
        fields: Its headers; its body, of protocol 1.
    """
    fields["expires"] = LONG_AGO
    # Celery adds what has expired, and would discard a later event of the same id.
    revoked = consumer.controller.state.revoked
    was_revoked = event.delivery_tag.id in revoked
    try:
        handler_of_expired(consumer, fields["task"], handler)(event)
    finally:
        if not was_revoked:
            revoked.discard(event.delivery_tag.id)
