"""Celery: a worker with PEER_POOL and PEER_CONCURRENCY, with the timer if PEER_TIMER says so, else with countdowns."""

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import peer
from celery import Celery, group

import celery_dtimer
from celery_dtimer.posting.bulk import TaskPost

app = Celery("celery_peer", broker=peer.URL)
app.conf.update(broker_connection_retry_on_startup=True, task_ignore_result=True)
WITH_TIMER = os.environ.get("PEER_TIMER") == "1"
if WITH_TIMER:
    celery_dtimer.install(app)


@app.task(name="note")
def note(due: float, text: str) -> None:
    """A job."""
    peer.note(due)


def work() -> None:
    """Become a worker."""
    os.chdir(Path(__file__).parent)
    pool = os.environ["PEER_POOL"]
    command = [sys.executable, "-m", "celery", "-A", "celery_peer", "worker", "-l", "ERROR", "-P", pool]
    os.execv(sys.executable, [*command, "-c", str(peer.CONCURRENCY), "-n", f"peer{os.getpid()}@localhost"])


def begin() -> None:
    """Connect, and start the clock."""
    if WITH_TIMER:
        note.post_in(3600, 0.0, "").cancel()
    else:
        with app.producer_pool.acquire(block=True) as producer:
            producer.connection.ensure_connection()
    peer.begin()


def post(instants: list[float]) -> None:
    """Post one by one."""
    begin()
    for due in instants:
        delay = max(0.0, due - time.time())
        if WITH_TIMER:
            note.post_in(delay, due, peer.padding())
        else:
            note.apply_async((due, peer.padding()), countdown=delay)


def at(instants: list[float]) -> None:
    """Post for an instant: a countdown is counted from somewhere within the call."""
    for due in instants:
        options: dict[str, Any] = {"eta": datetime.fromtimestamp(due, UTC)}
        if WITH_TIMER:
            note.post((due, peer.padding()), **options)
        else:
            note.apply_async((due, peer.padding()), **options)


def bulk(instants: list[float]) -> None:
    """Post all in one call."""
    begin()
    now = time.time()
    if WITH_TIMER:
        note.post_many(TaskPost((due, peer.padding()), delay=max(0.0, due - now)) for due in instants)
    else:
        calls = (note.signature((due, peer.padding()), countdown=max(0.0, due - now)) for due in instants)
        group(calls).apply_async()


if __name__ == "__main__":
    peer.main(work, post, bulk, at)
