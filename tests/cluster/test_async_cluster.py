"""An AsyncDTimer in a cluster: its calls follow slots that move, and masters that fall, as those of a DTimer do."""

import asyncio

import pytest
from rig.cluster import slot_of

from celery_dtimer import AsyncDTimer, Post, TimerUnavailableError

SHARDS = 3
MOVED = 1  # the shard whose slot moves, or whose master falls
KEY = f"{{dt:{MOVED}}}:events"


def next_master(fleet):
    masters = fleet.masters()
    return masters[(masters.index(fleet.master_of(KEY)) + 1) % len(masters)]


def test_operations_reach_the_shards_of_all_masters(calm):
    async def main():
        async with AsyncDTimer(calm.url, shards=SHARDS) as timer:
            ids = await timer.post_many(Post(str(i), 600 + i, id=str(i)) for i in range(60))
            infos = await asyncio.gather(*(timer.peek(each) for each in ids))
            assert [info.payload.decode() for info in infos] == ids
            assert [event.id for event in await timer.upcoming()] == ids
            assert (await timer.count()).pending == 60
            assert all(await asyncio.gather(*(timer.cancel(each) for each in ids)))

    asyncio.run(main())
    asyncio.run(main())


def test_events_are_delivered_and_confirmed(calm):
    async def main():
        async with AsyncDTimer(calm.url, shards=SHARDS) as timer:
            await timer.post_many(Post(str(i), 0, id=str(i)) for i in range(30))
            seen = set()
            async for delivery in timer:
                assert await timer.confirm(delivery)
                seen.add(delivery.id)
                if len(seen) == 30:
                    break

    asyncio.run(main())


def test_awaited_calls_follow_a_slot_that_moves(calm):
    async def main():
        async with AsyncDTimer(calm.url, shards=SHARDS) as timer:
            ids = await timer.post_many(Post(str(i), 600, id=str(i)) for i in range(30))
            for _ in range(2):
                moving = asyncio.create_task(
                    asyncio.to_thread(calm.migrate, slot_of(f"{{dt:{MOVED}}}"), next_master(calm))
                )
                while not moving.done():
                    infos = await asyncio.gather(*(timer.peek(each) for each in ids))
                    assert [info.id for info in infos] == ids
                await moving
            assert all(await asyncio.gather(*(timer.cancel(each) for each in ids)))

    asyncio.run(main())


@pytest.mark.parametrize("break_it", ["kill", "pause"])
def test_after_a_master_fell_or_hung_awaited_calls_reach_its_replica(fleet, break_it):
    async def main():
        async with AsyncDTimer(fleet.url, shards=SHARDS) as timer, asyncio.timeout(90):
            ids = await timer.post_many(Post(str(i), 600, id=str(i)) for i in range(30))
            await asyncio.to_thread(fleet.wait_for_replicas)
            old = fleet.master_of(KEY)
            getattr(old, break_it)()

            async def peek(event_id):
                while True:
                    try:
                        return await timer.peek(event_id)
                    except TimerUnavailableError:
                        await asyncio.sleep(0.05)

            infos = await asyncio.gather(*map(peek, ids))
            assert [info.id for info in infos] == ids
            assert fleet.master_of(KEY) is not old
            if break_it == "pause":
                old.resume()

    asyncio.run(main())
