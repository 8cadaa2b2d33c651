"""saq, with its defaults: it looks once a second."""

import asyncio

import peer
from saq import Queue, Worker


async def note(ctx: object, *, due: float, text: str) -> None:
    """A job."""
    peer.note(due)


async def work() -> None:
    """Run jobs in one event loop."""
    await Worker(Queue.from_url(peer.URL), functions=[note]).start()


def job(due: float) -> dict[str, object]:
    """The arguments of a post."""
    return {"due": due, "text": peer.padding(), "scheduled": due}


async def post(instants: list[float]) -> None:
    """Post one by one."""
    queue = Queue.from_url(peer.URL)
    await queue.connect()
    peer.begin()
    for due in instants:
        await queue.enqueue("note", **job(due))
    await queue.disconnect()


async def bulk(instants: list[float]) -> None:
    """Post a hundred at a time at once; it has no batches."""
    queue = Queue.from_url(peer.URL)
    await queue.connect()
    peer.begin()
    for first in range(0, len(instants), 100):
        await asyncio.gather(*(queue.enqueue("note", **job(due)) for due in instants[first : first + 100]))
    await queue.disconnect()


peer.main(work, post, bulk)
