"""The app of the drill: a task that writes down that it ran, in the workers; a clock, in the operator's commands."""

import atexit
import os
import time
from pathlib import Path

from celery import Celery, Task

import celery_dtimer

app = Celery("drill_app", broker=os.environ["DRILL_BROKER"])
app.conf.update(dtimer_url=os.environ["DRILL_TIMER"], task_ignore_result=True, broker_connection_retry_on_startup=True)
celery_dtimer.install(app)

_file: int | None = None


@app.task(bind=True)
def run(self: Task) -> None:
    """Note the id, the queue, the due instant and now, in one line."""
    global _file  # noqa: PLW0603
    now, event = time.time(), self.request.dtimer
    if _file is None:
        _file = os.open(os.environ["DRILL_RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(_file, f"{self.request.id} {event.queue} {event.due_at.timestamp()} {now}\n".encode())


def _clock() -> None:
    """Write down how long a command takes, from here to its end: without the start of Python, Celery and this app."""
    start = time.perf_counter()
    atexit.register(lambda: Path(os.environ["DRILL_CLOCK"]).write_text(f"{time.perf_counter() - start}"))


if "DRILL_CLOCK" in os.environ:
    _clock()
