"""One local process and whatever it forks, held by its own id."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from celery_dtimer.testing.nodes.guard import guard
from celery_dtimer.testing.nodes.waiting import wait_until

GRACE = 10.0  # seconds; longer than a server or an idle worker ever needs to end


class NodeProcess:
    """A command in a session of its own, so that one signal can reach its children and nobody else.

    As in a container, the end of the main process is the end of all: a prefork worker that is killed leaves
    no pool children behind. Standard output and error go, appended, to ``log``.
    """

    def __init__(self, argv: Sequence[str], log: Path, cwd: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as sink:
            self._main = subprocess.Popen(  # noqa: S603 - a server or a worker of the tests
                list(argv),
                cwd=cwd,
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        guard().watch(self.pid)
        self._swept = False

    @property
    def pid(self) -> int:
        """The id of the main process, which is also that of its group and session."""
        return self._main.pid

    @property
    def exit_code(self) -> int | None:
        """``None`` while the main process lives; looking also reaps it and ends what it left behind."""
        code = self._main.poll()
        if code is not None:
            self._sweep()
        return code

    @property
    def running(self) -> bool:
        """Whether the main process lives; a paused one does."""
        return self.exit_code is None

    def signal_main(self, number: int) -> None:
        """Send a signal to the main process alone, as an operator or a supervisor does."""
        self._main.send_signal(number)

    def signal_all(self, number: int) -> None:
        """Send a signal to the main process and all of its children at once."""
        if not self._swept:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def pause(self) -> None:
        """SIGSTOP to all, and wait until they stand still: a signal does not act at once."""
        self.signal_all(signal.SIGSTOP)
        main = psutil.Process(self.pid)
        still = {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
        wait_until(
            lambda: all(process.status() in still for process in [main, *main.children(recursive=True)]),
            f"process {self.pid} and its children to stand still",
        )

    def resume(self) -> None:
        """SIGCONT to all."""
        self.signal_all(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to all, and wait until the main process is reaped."""
        self.signal_all(signal.SIGKILL)
        self.wait(GRACE)

    def stop(self, grace: float = GRACE) -> None:
        """Ask the main process to end, and kill all that has not ended after ``grace`` seconds."""
        if not self.running:
            return
        self.resume()  # a frozen process would not hear the request
        self.signal_main(signal.SIGTERM)
        try:
            self.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def wait(self, timeout: float) -> int:
        """Wait for the end of the main process and return its exit code (negative: the signal).

        Raises:
            subprocess.TimeoutExpired: It still ran after ``timeout`` seconds.
        """
        code = self._main.wait(timeout)
        self._sweep()
        return code

    def _sweep(self) -> None:
        # Once only: later the id may belong to somebody else.
        if not self._swept:
            self.signal_all(signal.SIGKILL)
            self._swept = True
            guard().release(self.pid)


def gone(pid: int) -> bool:
    """Whether no such process lives; an orphan that nobody has reaped yet does not."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
