"""A stand-in for Amazon's SQS: moto's server, a process that answers its API on a loopback port."""

import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from rig.ports import HOST, free_port, is_open
from rig.processes import NodeProcess
from rig.servers import ServerNotFoundError, ServerStartError
from rig.waiting import wait_until

START_TIMEOUT = 60.0  # seconds; a start takes two or three


class SqsServer:
    """One moto server, whose queues are gone when it ends."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._process: NodeProcess | None = None
        self._port = 0

    @property
    def address(self) -> str:
        """Host and port that stand for Amazon's."""
        return f"{HOST}:{self._port}"

    def start(self) -> Self:
        """Start the process, and wait until it listens.

        Raises:
            ServerNotFoundError: moto is not installed.
            ServerStartError: It ended; its log is the message.
        """
        for module in ("moto", "boto3", "pycurl"):
            if importlib.util.find_spec(module) is None:
                raise ServerNotFoundError(
                    f"{module} is not installed: pip install --group brokers brings the SQS tests what they need"
                )
        self._folder = Path(tempfile.mkdtemp(prefix="sqs-"))
        self._port = free_port()
        argv = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(self._port)]
        process = self._process = NodeProcess(argv, self._folder / "log", self._folder)
        wait_until(lambda: not process.running or is_open(self._port), "moto to listen", START_TIMEOUT)
        if not process.running:
            log = (self._folder / "log").read_text(errors="replace")
            self.close()
            raise ServerStartError(f"moto did not start:\n{log}")
        return self

    def close(self) -> None:
        """End the process and remove its folder."""
        if self._process is not None:
            self._process.stop()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
