"""dramatiq, with its defaults: a delayed message waits in a worker's memory."""

import threading
import time

import dramatiq
import peer
from dramatiq.brokers.redis import RedisBroker

broker = RedisBroker(url=peer.URL)
dramatiq.set_broker(broker)


@dramatiq.actor
def note(due: float, text: str) -> None:
    """A job."""
    peer.note(due)


def work() -> None:
    """Run jobs in threads."""
    dramatiq.Worker(broker, worker_threads=peer.CONCURRENCY).start()
    threading.Event().wait()


def post(instants: list[float]) -> None:
    """Post one by one."""
    broker.client.ping()
    peer.begin()
    for due in instants:
        delay = max(0, round((due - time.time()) * 1000))
        note.send_with_options(args=(due, peer.padding()), delay=delay or None)


peer.main(work, post)
