"""The console on a port of its own, for ``celery dtimer web``."""

import logging
from collections.abc import Sequence
from typing import Any

import uvicorn

from celery_dtimer.web.console import console

#: Addresses of this host alone, and the names that a browser may call them by.
LOCAL = ("127.0.0.1", "localhost", "::1")
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")

#: Seconds that open pages may take to close when the console ends.
CLOSING = 1


def serve(
    app: Any, *, host: str, port: int, allow_writes: bool, token: str | None, allow_hosts: Sequence[str] = ()
) -> None:
    """Serve the console until it is interrupted.

    Raises:
        ValueError: Anybody could look, or change something.
        OSError: The port is taken.
    """
    if host not in LOCAL and token is None:
        raise ValueError(f"host must be one of {', '.join(LOCAL)} without a token, got {host!r}: give a token")
    names = [*LOCAL_NAMES, *(name.lower() for name in allow_hosts)] if host in LOCAL or allow_hosts else None
    application = console(app, allow_writes=allow_writes, token=token, hosts=names)
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=CLOSING,
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    uvicorn.Server(config).run()
