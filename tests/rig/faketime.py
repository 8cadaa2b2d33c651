"""A wall clock of its own for a process, to be set back and forth while it runs: libfaketime."""

import os
from pathlib import Path

OVERRIDE = "DTIMER_TEST_FAKETIME"
LIBRARIES = (Path("/usr/lib"), Path("/usr/local/lib"))
SHARED_MEMORY = Path("/dev/shm")

#: Seconds by which two clocks of one machine may seem to be apart, since they are read one after the other.
GRAIN = 0.002

WHAT_TO_INSTALL = (
    "libfaketime is not installed: on Debian and Ubuntu, apt-get install libfaketime; elsewhere let "
    f"{OVERRIDE} name its library libfaketime.so.1"
)


class FaketimeNotFoundError(FileNotFoundError):
    """There is no libfaketime; without one nothing of a wrong clock is proved, so no test is skipped."""


def faketime_library() -> Path:
    """The library: the one that ``DTIMER_TEST_FAKETIME`` names, or the package's.

    Raises:
        FaketimeNotFoundError: There is none; the text says what to install.
    """
    chosen = os.environ.get(OVERRIDE)
    names = ("faketime/libfaketime.so.1", "*/faketime/libfaketime.so.1")
    found = [Path(chosen)] if chosen else [path for lib in LIBRARIES for name in names for path in lib.glob(name)]
    for path in found:
        if path.is_file():
            return path
    raise FaketimeNotFoundError(WHAT_TO_INSTALL)


class Clock:
    """The wall clock of the processes that are started with its ``environment``.

    Their monotonic clock stays the machine's, which all processes have in common: as where an operator, NTP or a
    failover sets a clock.

    Args:
        file: Where the processes look at each question for the time; made here.
        offset: Seconds that the clock is ahead of the machine's at first.
    """

    def __init__(self, file: Path, offset: float = 0.0) -> None:
        self._file = file
        self._pids: set[int] = set()
        self.step_to(offset)

    def step_to(self, offset: float) -> None:
        """Set the clock, at once: that many seconds ahead of the machine's, or behind it."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset:+f}\n", encoding="ascii")
        new.replace(self._file)
        self.offset = offset

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to live by this clock."""
        return {
            "LD_PRELOAD": str(faketime_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def used_by(self, pid: int) -> None:
        """Remember a process, that may be killed, for ``close``."""
        self._pids.add(pid)

    def close(self) -> None:
        """Remove what libfaketime leaves in shared memory of a process that was killed."""
        for pid in self._pids:
            for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
                (SHARED_MEMORY / name).unlink(missing_ok=True)
