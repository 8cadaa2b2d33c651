"""What the tasks of a test's project write down when they run: rows in the result backend, for projects to import.

A test that breaks the result backend has the rows elsewhere, at RECORDS_URL.
"""

import json
import os
import time
from functools import cache

import redis

RECORDS = "records"


def records_client():
    """One connection a process: a pool child must not use its parent's."""
    return _client(os.getpid(), os.environ.get("RECORDS_URL", os.environ["RESULT_BACKEND"]))


@cache
def _client(_pid, url):
    return redis.Redis.from_url(url)


def record(task, event, **more):
    """Append what happened; ``at`` is the process's own clock, ``monotonic`` the machine's, the same for all."""
    seen = task.request.dtimer
    row = {
        "event": event,
        "at": time.time(),
        "monotonic": time.monotonic(),
        "id": task.request.id,
        "pid": os.getpid(),
        "worker": task.request.hostname,
        "retries": task.request.retries,
        "redelivered": task.request.delivery_info["redelivered"],
        "due": seen and seen.due_at.timestamp(),
        "redeliveries": seen and seen.redeliveries,
        "max_redeliveries": seen and seen.max_redeliveries,
        "lateness": seen and seen.lateness,
        **more,
    }
    records_client().rpush(RECORDS, json.dumps(row))


def records():
    """All that was written down, in the order of writing."""
    return [json.loads(row) for row in records_client().lrange(RECORDS, 0, -1)]
