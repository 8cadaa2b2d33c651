"""A signal that lands in a line of one's choice, in the main thread of a worker."""

import os
import signal
import sys
from types import FrameType

#: ``<end of the file's path>:<function>[:<line within the file>]``: a worker of a test signals itself there.
TRAP = "DTIMER_TEST_TRAP"

#: Which signal, and at the how manieth time; SIGTERM at the first unless set.
SIGNAL, TIMES = "DTIMER_TEST_TRAP_SIGNAL", "DTIMER_TEST_TRAP_TIMES"


def arm() -> None:
    """Set the trap that the environment describes, if any; to be called in the main thread."""
    if TRAP not in os.environ:
        return
    file, _, rest = os.environ[TRAP].partition(":")
    function, _, line = rest.partition(":")
    number = getattr(signal, os.environ.get(SIGNAL, "SIGTERM"))
    left = int(os.environ.get(TIMES, "1"))
    owner = os.getpid()

    def called(frame: FrameType, event: str, _argument: object) -> object:
        code = frame.f_code
        if code.co_qualname == function and code.co_filename.endswith(file):
            return inside
        return None

    def inside(frame: FrameType, event: str, _argument: object) -> object:
        nonlocal left
        here = event == "line" and (not line or frame.f_lineno == int(line))
        # Not before the worker handles it, nor in its pool's processes.
        if here and left > 0 and signal.getsignal(number) is not signal.SIG_DFL and os.getpid() == owner:
            left -= 1
            if not left:
                # Its handler runs before this returns: amid the line, with all that is held there.
                os.kill(owner, number)
        return inside

    sys.settrace(called)


def watch(files: tuple[str, ...], lines: dict[tuple[str, str, int], int]) -> None:
    """Count the lines that the main thread runs in some files: (path, function, line) -> times."""

    def called(frame: FrameType, event: str, _argument: object) -> object:
        return inside if any(file in frame.f_code.co_filename for file in files) else None

    def inside(frame: FrameType, event: str, _argument: object) -> object:
        if event == "line":
            key = (frame.f_code.co_filename, frame.f_code.co_qualname, frame.f_lineno)
            lines[key] = lines.get(key, 0) + 1
        return inside

    sys.settrace(called)
