"""The timer of celery-dtimer without Celery: PEER_CONCURRENCY as its max_events, each event confirmed."""

import json
import threading
import time

import peer

from celery_dtimer import Delivery, DTimer, Post


def work() -> None:
    """Listen."""
    timer = DTimer(peer.URL, max_events=peer.CONCURRENCY)

    def on_event(delivery: Delivery) -> None:
        peer.note(json.loads(delivery.payload)["due"])
        timer.confirm_soon(delivery)

    timer.on_event(on_event)
    timer.join()
    threading.Event().wait()


def payload(due: float) -> bytes:
    """A job."""
    return json.dumps({"due": due, "text": peer.padding()}).encode()


def post(instants: list[float]) -> None:
    """Post one by one."""
    with DTimer(peer.URL) as timer:
        timer.count()
        peer.begin()
        for due in instants:
            timer.post(payload(due), max(0.0, due - time.time()))


def bulk(instants: list[float]) -> None:
    """Post in the timer's batches."""
    with DTimer(peer.URL) as timer:
        timer.count()
        peer.begin()
        timer.post_many(Post(payload(due), max(0.0, due - time.time())) for due in instants)


peer.main(work, post, bulk)
