"""For how long a post is tried again, if the timer's Redis does not answer: Celery's own publish retry policy."""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

#: Defaults of a publish retry policy, as of kombu's ``retry_over_time``.
RETRY_DEFAULTS: dict[str, Any] = {"max_retries": None, "interval_start": 2, "interval_step": 2, "interval_max": 30}


def retry_policy(app: Any, call: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the publish retry policy of a call's options, or None not to retry."""
    retry = call.get("retry")
    if app.conf.task_publish_retry if retry is None else retry:
        return {**app.conf.task_publish_retry_policy, **(call.get("retry_policy") or {})}
    return None


def pauses(policy: Mapping[str, Any] | None) -> Iterator[float]:
    """Seconds to wait before each attempt but the first, by a policy."""
    if policy is None:
        return
    policy = {**RETRY_DEFAULTS, **policy}
    for retries in count():
        if policy["max_retries"] is not None and retries >= policy["max_retries"]:
            return
        yield min(policy["interval_start"] + retries * policy["interval_step"], float(policy["interval_max"]))
