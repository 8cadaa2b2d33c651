"""docket, with its defaults, unless PEER_POLL says how often it looks."""

import asyncio
from datetime import UTC, datetime, timedelta

import peer
from docket import Docket, Worker


async def note(due: float, text: str) -> None:
    """A job."""
    peer.note(due)


async def work() -> None:
    """Run jobs in one event loop."""
    async with Docket(name="bench", url=peer.URL, execution_ttl=timedelta(0)) as docket:
        docket.register(note)
        often = timedelta(seconds=peer.POLL or 0.25)
        async with Worker(docket, minimum_check_interval=often, scheduling_resolution=often) as worker:
            await worker.run_forever()


async def post(instants: list[float]) -> None:
    """Post one by one."""
    async with Docket(name="bench", url=peer.URL, execution_ttl=timedelta(0)) as docket:
        docket.register(note)
        peer.begin()
        for due in instants:
            await docket.add(note, when=datetime.fromtimestamp(due, UTC))(due, peer.padding())


async def bulk(instants: list[float]) -> None:
    """Post a hundred at a time at once; it has no batches."""
    async with Docket(name="bench", url=peer.URL, execution_ttl=timedelta(0)) as docket:
        docket.register(note)
        peer.begin()
        for first in range(0, len(instants), 100):
            await asyncio.gather(
                *(
                    docket.add(note, when=datetime.fromtimestamp(due, UTC))(due, peer.padding())
                    for due in instants[first : first + 100]
                )
            )


peer.main(work, post, bulk)
