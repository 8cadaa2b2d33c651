"""dramatiq by its program, with its defaults, unless PEER_POLL says how often it looks.

A delayed message waits in a worker's memory.
"""

import os
import sys
import time
from pathlib import Path

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
    """Become its program: a process a core, each with eight threads."""
    os.chdir(Path(__file__).parent)
    if peer.POLL:
        os.environ["dramatiq_worker_timeout"] = str(round(peer.POLL * 1000))  # noqa: SIM112 - that is its name
    os.execv(sys.executable, [sys.executable, "-m", "dramatiq", "dramatiq_peer:broker"])


def post(instants: list[float]) -> None:
    """Post one by one."""
    broker.client.ping()
    peer.begin()
    for due in instants:
        delay = max(0, round((due - time.time()) * 1000))
        note.send_with_options(args=(due, peer.padding()), delay=delay or None)


if __name__ == "__main__":
    peer.main(work, post)
