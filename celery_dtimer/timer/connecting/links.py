"""One server over redis-py's asyncio connections: those of each running event loop are its own.

They are made as the connections of the server's sync client are, see ``asyncio_options.py``. A connection that was made
in one loop can't be used in another, nor in the child of a fork.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Any

import redis
import redis.asyncio
from redis.exceptions import ResponseError

from celery_dtimer.timer.connecting.asyncio_options import asyncio_pool
from celery_dtimer.timer.connecting.redis_patches import cluster_error, leads_to_replica
from celery_dtimer.timer.connecting.server import PATIENCE, UNAVAILABLE, Command, NotAskedError, Server
from celery_dtimer.timer.forks import tell_of_forks

#: Most connections of one loop to a server; fewer, if the URL or the client allows fewer. A loop is one thread, which
#: keeps no more of them busy.
MOST = 16

#: What the parent of a fork has open, for the child to keep: if it were collected there, it would take the sockets out
#: of the parent's selector.
_inherited: list[object] = []


class Link:
    """The connections of one event loop to one server."""

    def __init__(self, pool: redis.asyncio.ConnectionPool, most: int) -> None:
        self._client = redis.asyncio.Redis(connection_pool=pool)
        self._most = most
        self._free = asyncio.Semaphore(most)
        self._replied_at = time.monotonic()
        self._exchanges: set[asyncio.Task[list[Any]]] = set()

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands, see ``Server.send``.

        An await that is cancelled leaves the exchange to itself, until it has its replies or its time is over: a
        connection is never given back with replies to come, whatever redis-py makes of a cancellation.
        """
        await self._wait_for_turn()
        exchange = asyncio.create_task(self._exchange(commands))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._done)
        return await asyncio.shield(exchange)

    async def _wait_for_turn(self) -> None:
        """Take a connection's place; wait as long as replies come at all, since thousands of tasks may be waiting.

        Raises:
            NotAskedError: No place was free, and no reply came for a while.
        """
        since = time.monotonic()
        while self._free.locked():
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._free.acquire()
            except TimeoutError as exc:
                if max(since, self._replied_at) + PATIENCE > time.monotonic():
                    continue
                raise NotAskedError(
                    f"all its {self._most} connections of this event loop were in use for {PATIENCE:g} s"
                ) from exc
            return
        await self._free.acquire()

    def _done(self, exchange: asyncio.Task[list[Any]]) -> None:
        self._exchanges.discard(exchange)
        self._free.release()
        # Nobody may be waiting any more for the error of this one.
        if not exchange.cancelled() and exchange.exception() is None:
            self._replied_at = time.monotonic()

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        client = self._client
        if len(commands) == 1:
            try:
                return [await client.execute_command(*commands[0])]
            except ResponseError as exc:
                replies: list[Any] = [exc]
        else:
            async with client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                replies = await pipe.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, UNAVAILABLE):
                raise reply
        if any(leads_to_replica(reply) for reply in replies if isinstance(reply, ResponseError)):
            await client.connection_pool.disconnect(inuse_connections=False)
        return [cluster_error(reply) if isinstance(reply, ResponseError) else reply for reply in replies]

    async def close(self) -> None:
        """Close all connections."""
        await self._client.connection_pool.disconnect()


class Links:
    """The links of a server, one a running loop. They close with their loop, or by ``close``.

    Args:
        server: The server. What its sync client has, they have.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._links: dict[asyncio.AbstractEventLoop, tuple[Link, AsyncGenerator[None, None]]] = {}
        tell_of_forks(self)

    async def of_this_loop(self) -> Link:
        """Return the link of the running loop; nothing is sent yet.

        Raises:
            SettingsError: redis-py's asyncio connections lack an option of the server's.
        """
        loop = asyncio.get_running_loop()
        found = self._links.get(loop)
        if found is not None:
            return found[0]
        for other in list(self._links):
            if other.is_closed():
                self._links.pop(other, None)
        pool, most = asyncio_pool(self._server.client.connection_pool)
        link = Link(pool, min(most, MOST))
        # asyncio.run(), and every runner like it, ends the asynchronous generators of a loop before it closes the loop.
        keeper = self._keep(loop, link)
        await anext(keeper)
        self._links[loop] = link, keeper
        return link

    async def _keep(self, loop: asyncio.AbstractEventLoop, link: Link) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._links.pop(loop, None)
            # The loop ends, and nobody is left to be told: whatever else it closes comes next.
            with suppress(redis.RedisError, OSError):
                await link.close()

    async def close(self) -> None:
        """Close the connections of the running loop; others are made when they are needed."""
        found = self._links.get(asyncio.get_running_loop())
        if found is not None:
            await found[1].aclose()

    def forked(self) -> None:
        """Forget the parent's connections in the child of a fork."""
        _inherited.append(self._links)
        self._links = {}


def links_of(server: Server) -> Links:
    """Return the links of a server."""
    if server.links is None:
        server.links = Links(server)
    made: Links = server.links
    return made
