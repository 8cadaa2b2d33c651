"""A stand-in for Amazon's SQS: moto's server, a process that answers its API on a loopback port."""

import importlib.util
import sys
from typing import Self

from rig.local_server import LocalServer, ServerNotFoundError
from rig.ports import HOST, free_port, is_open
from rig.processes import NodeProcess
from rig.waiting import wait_until

START_TIMEOUT = 60.0  # seconds; a start takes two or three


class SqsServer(LocalServer):
    """One moto server, whose queues are gone when it ends."""

    def __init__(self) -> None:
        super().__init__()
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
        self._make_home()
        self._port = free_port()
        argv = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(self._port)]
        process = self._process = NodeProcess(argv, self._log, self._home)
        wait_until(lambda: not process.running or is_open(self._port), "moto to listen", START_TIMEOUT)
        if not process.running:
            raise self._give_up("moto")
        return self

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.stop()
            self._process = None
