"""rq: a scheduler beside a worker that does not fork for each job, which is faster."""

import sys
from datetime import UTC, datetime

import peer
from redis import Redis
from rq import Queue, SimpleWorker

queue = Queue("bench", connection=Redis.from_url(peer.URL))


def note(due: float, text: str) -> None:
    """A job."""
    peer.note(due)


def work() -> None:
    """Run jobs one by one."""
    SimpleWorker([queue], connection=queue.connection).work(with_scheduler=True, logging_level="WARNING")


def post(instants: list[float]) -> None:
    """Post one by one."""
    queue.connection.ping()
    peer.begin()
    for due in instants:
        queue.enqueue_at(datetime.fromtimestamp(due, UTC), "rq_peer.note", due, peer.padding(), result_ttl=0)


if __name__ == "__main__":
    sys.modules["rq_peer"] = sys.modules["__main__"]
    peer.main(work, post)
