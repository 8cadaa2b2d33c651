"""A terminal for a command: a pseudo terminal of 80 columns, and what was written to it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

#: What a terminal obeys: colours, cursor movements, titles.
CONTROL = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07)")

WIDTH = 80


def run_on_terminal(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float = 30.0,
    lines: int = 50,
    interrupt_at: str | None = None,
    answer: str | None = None,
) -> tuple[int, str]:
    """Run a command whose output is a terminal; its status, and what it wrote.

    It is interrupted, as by Ctrl-C, when it has written ``interrupt_at``. ``answer`` is typed when it asks.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, WIDTH, 0, 0))
    terminal = {"TERM": "xterm-256color", "COLUMNS": str(WIDTH), "LINES": str(lines)}
    process = subprocess.Popen(argv, cwd=cwd, env={**env, **terminal}, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written, give_up = b"", time.monotonic() + timeout
    try:
        while True:
            ready, _, _ = select.select([ours], [], [], max(0.0, give_up - time.monotonic()))
            if not ready:
                process.kill()
                raise TimeoutError(f"{argv} has not ended after {timeout} s: {written!r}")
            try:
                data = os.read(ours, 65536)
            except OSError:  # Linux says so when the other end is closed
                data = b""
            if not data:
                break
            written += data
            if answer is not None and b"[y/N]: " in written:
                os.write(ours, f"{answer}\n".encode())
                answer = None
            if interrupt_at is not None and interrupt_at in written.decode(errors="replace"):
                process.send_signal(signal.SIGINT)
                interrupt_at = None
    finally:
        os.close(ours)
    return process.wait(timeout), written.decode().replace("\r\n", "\n")


def plain(text: str) -> str:
    """What is left to be read of what was written to a terminal."""
    return CONTROL.sub("", text)


def screen(text: str) -> str:
    """What is left on a terminal of what was written to it: progress bars go, and colours."""
    lines, row, column = [""], 0, 0
    for part in re.split(r"(\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\r|\n)", text):
        if part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif up := re.fullmatch(r"\x1b\[(\d*)A", part):
            row = max(0, row - int(up[1] or 1))
        elif part == "\x1b[2K":
            lines[row] = ""
        elif not part.startswith("\x1b"):
            line = lines[row].ljust(column)
            lines[row] = line[:column] + part + line[column + len(part) :]
            column += len(part)
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"
