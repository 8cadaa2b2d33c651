"""Connections of an AsyncDTimer's that a server is asked for by their names, which takes more rights than the least."""

import asyncio
import threading

from rig.waiting import wait_until

from celery_dtimer import AsyncDTimer


def named(client, name):
    return [row for row in client.client_list() if row["name"] == name]


def test_each_loop_has_connections_of_its_own_which_end_with_it(redis_url, redis_client, timer):
    awaited = AsyncDTimer(f"{redis_url}?client_name=of-a-loop")
    posted = []

    async def main():
        posted.append(await awaited.post("x", 60))
        assert named(redis_client, "of-a-loop")

    asyncio.run(main())
    wait_until(lambda: not named(redis_client, "of-a-loop"), "the server to see them closed")
    asyncio.run(main())
    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(posted) == 6
    wait_until(lambda: not named(redis_client, "of-a-loop"), "the server to see them closed")
    timer.cancel_many(posted)


def test_hundreds_of_posts_at_once_share_few_connections(timer, redis_url, redis_client):
    async def main():
        async with AsyncDTimer(f"{redis_url}?client_name=of-many&max_connections=3") as awaited:
            ids = await asyncio.gather(*(awaited.post("x", 60) for _ in range(200)))
            assert len(named(redis_client, "of-many")) <= 3
            return ids

    timer.cancel_many(asyncio.run(main()))
