"""What a hundred thousand tasks that wait cost: nothing in a worker, and little in Redis."""

import random
import string

import pytest
from rig.outsider import Outsider
from rig.waiting import wait_until

from celery_dtimer import Post

EVENTS = 100_000
ALLOWED = 5 * 1024 * 1024  # bytes


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_hundred_thousand_pending_events_take_no_memory_in_a_worker(
    proj, start_worker, timer, timer_url, redis_client, expected_keys
):
    expected_keys.append("{dt:tasks:0}:*")
    worker = start_worker()
    # Warm: whatever is loaded on first use is loaded.
    assert proj.note.post_in(0, "warm").get(timeout=10)
    idle = worker.rss()
    # Random characters: others would be compressed to next to nothing.
    first = proj.note.post_in(3600, "".join(random.choices(string.ascii_letters + string.digits, k=200)))
    payload = first.peek().payload
    before = redis_client.info("memory")["used_memory"]
    with Outsider(timer_url) as outsider:
        outsider.post_many([Post(payload, 3600 + n / 100) for n in range(EVENTS)])
    per_event = (redis_client.info("memory")["used_memory"] - before) / EVENTS
    assert timer.count().pending == EVENTS + 1
    # One that is due among all those that are not runs, and the worker has looked at the whole of it by then.
    assert proj.note.post_in(0.5, "among them").get(timeout=10)
    wait_until(lambda: timer.count().leased == 0, "the last confirm")
    grown = worker.rss() - idle
    fresh = start_worker(name="fresh")
    assert proj.note.post_in(0.5, "again").get(timeout=10)
    print(
        f"{EVENTS} events of {len(payload)} bytes: {per_event:.0f} bytes of Redis memory each; the worker grew by "
        f"{grown / 1024:.0f} KiB, a fresh one has {(fresh.rss() - idle) / 1024:+.0f} KiB"
    )
    assert grown < ALLOWED
    assert fresh.rss() - idle < ALLOWED
