"""What the servers of the tests have in common: a folder that goes with them, a log, a start that may fail, an end."""

import shutil
import tempfile
from pathlib import Path
from typing import Self


class ServerNotFoundError(FileNotFoundError):
    """There is no server program to test against; without one a test proves nothing, so none is skipped."""


class ServerStartError(RuntimeError):
    """The server program ended, or never answered; its log is the message."""


class LocalServer:
    """One or more processes and their folder. Use it as a context manager, or call ``start`` and ``close``."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def start(self) -> Self:
        """Start the processes, and wait until they can be used."""
        raise NotImplementedError

    def end(self) -> None:
        """End the processes, whatever their state."""
        raise NotImplementedError

    def close(self) -> None:
        """End the processes, and remove the folder."""
        self.end()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def logs(self) -> str:
        """All that the server has written since it was made."""
        return self._log.read_text(errors="replace") if self._folder is not None and self._log.exists() else ""

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make_home(self) -> None:
        """Make the folder, unless an earlier start did."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__}-"))

    @property
    def _home(self) -> Path:
        if self._folder is None:
            raise LookupError("this server was not started")
        return self._folder

    @property
    def _log(self) -> Path:
        return self._home / "log"

    def _give_up(self, name: str) -> ServerStartError:
        """Close, and return what to raise."""
        log = self.logs()
        self.close()
        return ServerStartError(f"{name} did not start:\n{log}")
