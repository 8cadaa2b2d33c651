"""Wakes a thread that sleeps on file descriptors, such as a hub (``Hub.call_soon`` does so only from kombu 5.7 on)."""

import socket
from contextlib import suppress


class Wakeup:
    """A pair of sockets: a byte written to one makes the other readable."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._reader.fileno()

    def wake(self) -> None:
        """Make it readable. A full buffer, or a closed one, is as good as woken."""
        with suppress(OSError):
            self._writer.send(b"\0")

    def drain(self) -> None:
        """Make it unreadable again."""
        with suppress(OSError):
            self._reader.recv(4096)

    def close(self) -> None:
        """Close both ends."""
        self._reader.close()
        self._writer.close()
