"""The app of a worker whose tasks all use the timer at one instant: each writes a line to a file when that is done."""

import os
import time

from celery import Celery

import celery_dtimer

app = Celery("crowd_app", broker=os.environ["CROWD_BROKER"])
app.conf.update(dtimer_url=os.environ["CROWD_TIMER"], broker_connection_retry_on_startup=True, task_ignore_result=True)
NATIVE = os.environ.get("CROWD_NATIVE") == "1"
if not NATIVE:
    celery_dtimer.install(app)


def note(line):
    descriptor = os.open(os.environ["CROWD_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def wait_for(instant):
    time.sleep(max(0.0, instant - time.time()))


def call(task, *args):
    if NATIVE:
        task.apply_async(args, countdown=0.1)
    else:
        task.post_in(0.1, *args)


@app.task
def done(what, number):
    note(f"{what} {number}")


@app.task(bind=True, max_retries=5)
def retries(self, number, instant):
    if self.request.retries:
        note(f"retries {number}")
        return
    note(f"started {number}")
    wait_for(instant)
    raise self.retry(countdown=1)


@app.task
def posts(number, instant):
    note(f"started {number}")
    wait_for(instant)
    call(done, "posts", number)


@app.task
def looks(number, instant):
    note(f"started {number}")
    wait_for(instant)
    try:
        if not NATIVE:
            celery_dtimer.get_timer(app).peek(f"nobody-{number}")
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is counted
        note(f"error {exc!r}")
    else:
        note(f"looks {number}")
