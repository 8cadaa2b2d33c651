"""arq, with its defaults: it polls every half second, unless PEER_POLL says how often."""

import asyncio
from datetime import UTC, datetime

import peer
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker


async def note(ctx: object, due: float, text: str) -> None:
    """A job."""
    peer.note(due)


async def work() -> None:
    """Run jobs in one event loop."""
    settings = RedisSettings.from_dsn(peer.URL)
    await Worker([note], redis_settings=settings, keep_result=0, poll_delay=peer.POLL or 0.5).async_run()


async def post(instants: list[float]) -> None:
    """Post one by one."""
    pool = await create_pool(RedisSettings.from_dsn(peer.URL))
    peer.begin()
    for due in instants:
        await pool.enqueue_job("note", due, peer.padding(), _defer_until=datetime.fromtimestamp(due, UTC))


async def bulk(instants: list[float]) -> None:
    """Post a hundred at a time at once; it has no batches."""
    pool = await create_pool(RedisSettings.from_dsn(peer.URL))
    peer.begin()
    for first in range(0, len(instants), 100):
        await asyncio.gather(
            *(
                pool.enqueue_job("note", due, peer.padding(), _defer_until=datetime.fromtimestamp(due, UTC))
                for due in instants[first : first + 100]
            )
        )


peer.main(work, post, bulk)
