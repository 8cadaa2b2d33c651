"""A TCP proxy that makes a server farther away: each direction is late by half a round trip, in order, at full width.

usage: proxy.py PORT [--round-trip-ms 20]

It prints the port that it listens on, and ends with its standard input. It is a process of its own, so that it takes
no time from those that are measured: ``with proxy(server.port, 0.020) as port: ...``.
"""

import argparse
import asyncio
import contextlib
import selectors
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

HOST = "127.0.0.1"

#: Bytes under way in one direction beyond which the sender has to wait: more than a long line of 1 Gbit/s holds.
MOST_UNDER_WAY = 64 * 1024 * 1024


@contextlib.contextmanager
def proxy(port: int, round_trip: float) -> Iterator[int]:
    """Run a proxy to a local port, whose round trips are longer by so many seconds; gives the port to connect to."""
    argv = [sys.executable, __file__, str(port), "--round-trip-ms", str(round_trip * 1000)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


class Direction(asyncio.Protocol):
    """What one end sends: written to the other end after the delay. None stands for the end of the stream."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[tuple[float, bytes | None]] = deque()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self.transport: Any = None
        self.other: Direction | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Let it travel."""
        self._bytes += len(data)
        if self._bytes > MOST_UNDER_WAY:
            self.transport.pause_reading()
        self._send_off(data)

    def eof_received(self) -> bool:
        """Let the end travel too; the way back stays open."""
        self._send_off(None)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other end when all that is under way has arrived."""
        del exc
        self._send_off(None)

    def _send_off(self, data: bytes | None) -> None:
        if not self._delay and not self._under_way:
            self._arrive(data)
            return
        self._under_way.append((self._loop.time() + self._delay, data))
        if self._timer is None:
            self._timer = self._loop.call_at(self._under_way[0][0], self._arrived)

    def _arrived(self) -> None:
        now = self._loop.time()
        while self._under_way and self._under_way[0][0] <= now:
            self._arrive(self._under_way.popleft()[1])
        self._timer = self._loop.call_at(self._under_way[0][0], self._arrived) if self._under_way else None

    def _arrive(self, data: bytes | None) -> None:
        other = self.other.transport if self.other is not None else None
        if data is None:
            if other is not None:
                other.close()
            return
        self._bytes -= len(data)
        if self._bytes <= MOST_UNDER_WAY and not self.transport.is_closing():
            self.transport.resume_reading()
        if other is not None and not other.is_closing():
            other.write(data)


class Accepted(Direction):
    """What a client sends, from its first byte on: its connection to the server is made meanwhile."""

    def __init__(self, delay: float, port: int) -> None:
        super().__init__(delay)
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect to the server; nothing is read before."""
        super().connection_made(transport)
        self.transport.pause_reading()
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        back = Direction(self._delay)
        try:
            await self._loop.create_connection(lambda: back, HOST, self._port)
        except OSError:
            self.transport.close()
            return
        self.other, back.other = back, self
        self.transport.resume_reading()


async def serve(port: int, delay: float) -> None:
    """Pass on until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Accepted(delay, port), HOST, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


def main() -> None:
    """Read the arguments, and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--round-trip-ms", type=float, default=20.0)
    arguments = parser.parse_args()
    # An epoll sleeps for whole milliseconds, which are too long for a round trip of one.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(serve(arguments.port, arguments.round_trip_ms / 2000))


if __name__ == "__main__":
    main()
