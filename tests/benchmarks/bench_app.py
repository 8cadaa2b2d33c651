"""The app of the benchmarks' workers: tasks that write down when they ran, and nothing else."""

import os
import time

from celery import Celery, Task

import celery_dtimer

app = Celery("bench_app", broker=os.environ["BENCH_BROKER"])
app.conf.update(
    dtimer_url=os.environ["BENCH_TIMER"],
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    # An hour is the default; nothing here takes that long, and nothing may be run again meanwhile.
    broker_transport_options={"visibility_timeout": 3600},
)
if os.environ.get("BENCH_INSTALL", "1") == "1":
    celery_dtimer.install(app)

_file: int | None = None


def _append(line: str) -> None:
    """Write a line to the file that all processes share."""
    global _file  # noqa: PLW0603
    if _file is None:
        _file = os.open(os.environ["BENCH_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(_file, f"{line}\n".encode())


@app.task
def note(due: float, padding: str = "") -> None:
    """Note the instant at which this ran and its lateness, in seconds."""
    now = time.time()
    _append(f"{now} {now - due}")


@app.task(bind=True)
def mark(self: Task) -> None:
    """The same with the task's id in front, as listening.py has it; late by the instant that the timer knows."""
    now = time.time()
    _append(f"{self.request.id} {now} {now - self.request.dtimer.due_at.timestamp()}")


@app.task
def nothing() -> None:
    """Take no time."""


@app.task(acks_late=True)
def nap(seconds: float) -> None:
    """Keep a slot of the pool for so long, and write a line when that begins."""
    note(time.time())
    time.sleep(seconds)


@app.task
def busy(seconds: float) -> None:
    """Keep a slot of the pool for so long."""
    time.sleep(seconds)
