"""The app of the benchmarks' workers: tasks that write down when they ran, and nothing else."""

import os
import time

from celery import Celery

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


@app.task
def note(due: float, padding: str = "") -> None:
    """Append the instant at which this ran and its lateness, in seconds, to a file that all processes share."""
    global _file  # noqa: PLW0603
    now = time.time()
    if _file is None:
        _file = os.open(os.environ["BENCH_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(_file, f"{now} {now - due}\n".encode())


@app.task(acks_late=True)
def nap(seconds: float) -> None:
    """Keep a slot of the pool for so long, and write a line when that begins."""
    note(time.time())
    time.sleep(seconds)


@app.task
def busy(seconds: float) -> None:
    """Keep a slot of the pool for so long."""
    time.sleep(seconds)
