"""Loopback ports for servers that have to be told theirs before they start."""

import os
import secrets
import socket
from collections import deque

HOST = "127.0.0.1"

# Below the range from which Linux takes the ports of outgoing connections (32768 and up): a client that
# redials a stopped server inside that range can be given the server's own port and so talk to itself.
LOWEST, HIGHEST = 12_000, 32_000

#: So many xdist workers have ports of their own.
WORKERS = 8

#: The last ones that were drawn here.
_drawn: deque[int] = deque(maxlen=100)


def free_port() -> int:
    """A port that nobody listens on, drawn at random, and that is nobody else's to listen on soon.

    Drawn by ``secrets``, since pytest-randomly gives ``random`` the same seed in every xdist worker; and
    drawn afresh each time, so that a port is hardly ever used twice within a run and no pooled connection of
    an earlier test finds a stranger behind it. Each xdist worker draws among ports of its own: a server may take
    seconds to listen on what it was given.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
    while True:
        port = LOWEST + secrets.randbelow((HIGHEST - LOWEST) // WORKERS) * WORKERS + worker
        if port in _drawn:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        _drawn.append(port)
        return port


def is_open(port: int) -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0
