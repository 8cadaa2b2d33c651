"""Calls of tasks by a process whose clock a test may set: writes what it called, by name."""

import json
import time
from datetime import UTC, datetime, timedelta

from proj import note

DELAY = 300
eta = datetime.now(UTC) + timedelta(seconds=DELAY)
results = {
    "post_in": note.post_in(DELAY),
    "countdown": note.apply_async(countdown=DELAY),
    "post_at": note.post_at(eta),
    "eta": note.apply_async(eta=eta),
}
ids = {name: result.id for name, result in results.items()}
print(json.dumps({"wall": time.time(), "instant": eta.timestamp(), "ids": ids}))
