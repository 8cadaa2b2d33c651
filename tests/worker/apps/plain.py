"""A project without the timer: what the rig's own tests run."""

import json
import os
import time

from celery import Celery

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    json.loads(os.environ["BROKER_SETTINGS"]),
    broker_transport_options=json.loads(os.environ["BROKER_TRANSPORT_OPTIONS"]),
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
)


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def process_id():
    return os.getpid()


@app.task
def variable(name):
    return os.environ[name]


@app.task
def nap(seconds):
    time.sleep(seconds)
    return seconds
