"""Ends the servers and workers of a test run that was killed itself and so could not do it."""

import atexit
import contextlib
import subprocess
import sys
from functools import cache

# Reads "+<process group>" and "-<process group>" until this end of the pipe is closed, by whatever death.
SCRIPT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
watched = set()
for line in sys.stdin:
    (watched.add if line[0] == "+" else watched.discard)(int(line[1:]))
for group in watched:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


class Guard:
    """A small process that knows which groups this one has started, and notices when this one is no more."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - the script above
            [sys.executable, "-S", "-E", "-c", SCRIPT],
            stdin=subprocess.PIPE,
            start_new_session=True,  # what ends the run from the terminal does not end the guard
        )
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        self._pipe = self._process.stdin

    def watch(self, group: int) -> None:
        """End this process group should we die."""
        self._tell(f"+{group}\n")

    def release(self, group: int) -> None:
        """The group has ended; its id may come to mean another."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """Let the guard go; it ends what it still watches."""
        self._pipe.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError, ValueError):  # without its guard a run is as good as before
            self._pipe.write(line.encode())
            self._pipe.flush()


@cache
def guard() -> Guard:
    """The one guard of this process, started when it is first needed."""
    made = Guard()
    atexit.register(made.close)
    return made
