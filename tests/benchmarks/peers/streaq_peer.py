"""streaq, with its defaults."""

from datetime import UTC, datetime

import peer
from streaq import Worker

worker = Worker(redis_url=peer.URL)


@worker.task()
async def note(due: float, text: str) -> None:
    """A job."""
    peer.note(due)


def work() -> None:
    """Run jobs in one event loop."""
    worker.run_sync()


def job(due: float) -> object:
    """A job that is not posted yet."""
    return note.enqueue(due, peer.padding()).start(schedule=datetime.fromtimestamp(due, UTC))


async def post(instants: list[float]) -> None:
    """Post one by one."""
    async with worker:
        peer.begin()
        for due in instants:
            await job(due)


async def bulk(instants: list[float]) -> None:
    """Post in batches of a thousand."""
    async with worker:
        peer.begin()
        for first in range(0, len(instants), 1000):
            await worker.enqueue_many([job(due) for due in instants[first : first + 1000]])


peer.main(work, post, bulk)
