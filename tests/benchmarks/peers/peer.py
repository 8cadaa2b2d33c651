"""What every peer's script does: it posts jobs, or works, as its command line says. Run by a Python of the peer's own.

usage: NAME.py work | post | at | bulk
Instants at which jobs are due come on standard input, one a line, in seconds since 1970. Each job carries its instant
and a text of 200 characters. A worker appends a line for each job that it runs: when it ran, and how late.
"""

import asyncio
import inspect
import os
import random
import string
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

URL = os.environ.get("PEER_REDIS", "")

#: Jobs that a worker runs at a time.
CONCURRENCY = int(os.environ.get("PEER_CONCURRENCY", "8"))

#: Seconds between two looks of a worker that polls; 0: its default.
POLL = float(os.environ.get("PEER_POLL", "0"))

#: What texts are made of, if they are of words.
WORDS = (Path(__file__).parents[3] / "README.md").read_text().split() if os.environ.get("PEER_TEXT") == "words" else []

_notes: int | None = None


def note(due: float) -> None:
    """Write down that a job runs now."""
    global _notes  # noqa: PLW0603
    if _notes is None:
        _notes = os.open(os.environ["PEER_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    now = time.time()
    os.write(_notes, f"{now} {now - due}\n".encode())


def padding() -> str:
    """Return a text of 200 characters: random ones, or English words if PEER_TEXT is "words"."""
    if WORDS:
        return " ".join(random.choices(WORDS, k=80))[:200]
    return "".join(random.choices(string.ascii_letters + string.digits, k=200))


def main(
    work: Callable[[], Any],
    post: Callable[..., Any],
    bulk: Callable[..., Any] | None = None,
    at: Callable[..., Any] | None = None,
) -> None:
    """Do what the command line says; any of them may be async.

    Args:
        work: Runs jobs until it is ended.
        post: Given the instants, it yields after each job that is posted.
        bulk: Given the instants, it posts all, in the way that the peer has for that.
        at: As post, and due at the instants exactly, if post is not.
    """
    what = sys.argv[1]
    if what == "work":
        found = work()
        if inspect.isawaitable(found):
            asyncio.run(_awaited(found))
        return
    instants = [float(line) for line in sys.stdin]
    chosen = {"post": post, "at": at or post, "bulk": bulk}[what]
    if chosen is None:
        sys.exit("there is no bulk")
    began = time.perf_counter()
    found = chosen(instants)
    if inspect.isawaitable(found):
        # The clock starts when the connection is there, see `begin`.
        asyncio.run(_awaited(found))
    print(len(instants) / (time.perf_counter() - (_begun or began)))


_begun = 0.0


def begin() -> None:
    """Start the clock: a connection has been made, and something was posted before."""
    global _begun  # noqa: PLW0603
    _begun = time.perf_counter()


async def _awaited(found: Any) -> Any:
    return await found
