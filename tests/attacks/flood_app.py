"""The app of the attacks' workers: tasks that call themselves again and again, through the timer or the broker."""

import os

from celery import Celery
from rig import trap

import celery_dtimer

app = Celery("flood_app", broker=os.environ["FLOOD_BROKER"])
app.conf.update(
    dtimer_url=os.environ["FLOOD_TIMER"],
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    worker_hijack_root_logger=True,
)
PLAIN = os.environ.get("FLOOD_PLAIN") == "1"
if not PLAIN:
    celery_dtimer.install(app)


def call(task, turn):
    """Call it once more, in a few milliseconds or at once."""
    if PLAIN:
        task.delay(turn)
    else:
        task.post_in(turn % 3 / 1000, turn)


@app.task
def early(turn=0):
    call(early, turn + 1)


@app.task(acks_late=True)
def late(turn=0):
    call(late, turn + 1)


def seed(count):
    """Start the flood."""
    for number in range(count):
        call((early, late)[number % 2], number)


if os.environ.get("FLOOD_WORKER") == "1":
    trap.arm()
