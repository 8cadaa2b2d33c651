"""rq, with its defaults: a scheduler beside the worker, which forks for each job."""

import sys
from datetime import UTC, datetime

import peer
from redis import Redis
from rq import Queue, Worker

queue = Queue("bench", connection=Redis.from_url(peer.URL))


def note(due: float, text: str) -> None:
    """A job."""
    peer.note(due)


def work() -> None:
    """Run jobs, each in a process."""
    Worker([queue], connection=queue.connection).work(with_scheduler=True, logging_level="WARNING")


def post(instants: list[float]) -> None:
    """Post one by one."""
    queue.connection.ping()
    peer.begin()
    for due in instants:
        queue.enqueue_at(datetime.fromtimestamp(due, UTC), "rq_peer.note", due, peer.padding(), result_ttl=0)


if __name__ == "__main__":
    sys.modules["rq_peer"] = sys.modules["__main__"]
    peer.main(work, post)
