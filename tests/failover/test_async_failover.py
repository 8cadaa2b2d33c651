"""An AsyncDTimer behind sentinels: its calls lead to the master of the moment."""

import asyncio

import pytest
from redis.sentinel import Sentinel
from rig.sentinels import NAME

from celery_dtimer import AsyncDTimer, TimerUnavailableError


@pytest.mark.parametrize("given", ["a URL", "a client", "as kombu spells it"])
def test_awaited_calls_follow_the_master(fleet, given):
    place = fleet.url
    if given == "a client":
        sentinels = [("127.0.0.1", node.port) for node in fleet.sentinels]
        place = Sentinel(sentinels, socket_timeout=2).master_for(NAME, protocol=2, socket_timeout=2)
    elif given == "as kombu spells it":
        place = f"{fleet.broker_url}?master_name={NAME}"

    async def main():
        async with AsyncDTimer(place) as timer, asyncio.timeout(60):
            await asyncio.gather(*(timer.post(str(number), 600, id=str(number)) for number in range(20)))
            await asyncio.to_thread(fleet.wait_for_replicas)
            await asyncio.to_thread(fleet.fail_over)
            posted = False
            while not posted:
                try:
                    posted = bool(await timer.post("new", 600, id="new", on_conflict="keep"))
                except TimerUnavailableError:
                    await asyncio.sleep(0.05)
            # Over many connections at a time, those of before among them.
            infos = await asyncio.gather(*(timer.peek(str(number)) for number in range(20)))
            assert [info.payload for info in infos] == [str(number).encode() for number in range(20)]
            assert (await timer.count()).pending == 21

    asyncio.run(main())
    with fleet.master.client() as client:
        assert client.info("replication")["role"] == "master"
        assert client.hlen("{dt:0}:events") == 21
