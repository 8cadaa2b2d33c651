"""Loopback ports for servers that have to be told theirs before they start."""

import secrets
import socket

HOST = "127.0.0.1"

# Below the range from which Linux takes the ports of outgoing connections (32768 and up): a client that
# redials a stopped server inside that range can be given the server's own port and so talk to itself.
LOWEST, HIGHEST = 12_000, 32_000


def free_port() -> int:
    """A port that nobody listens on, drawn at random.

    Drawn by ``secrets``, since pytest-randomly gives ``random`` the same seed in every xdist worker; and
    drawn afresh each time, so that a port is hardly ever used twice within a run and no pooled connection of
    an earlier test finds a stranger behind it.
    """
    while True:
        port = LOWEST + secrets.randbelow(HIGHEST - LOWEST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port


def is_open(port: int) -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0
