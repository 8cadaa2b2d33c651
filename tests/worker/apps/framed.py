"""A project whose workers write down the functions of ours on the stack: where a task is received, where its confirm is
noted, and where Redis is told.
"""

import json
import os
import sys

import kombu.message
from celery import Celery
from celery.signals import task_received
from rig.frames import ours, stack_of_putting, stacks_of_sending
from rig.records import record, records, records_client  # noqa: F401 - read by the tests

import celery_dtimer

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(broker_connection_retry_on_startup=True, dtimer_url=os.environ["DTIMER_URL"])
celery_dtimer.install(app)


@app.task(bind=True, acks_late=True)
def note(self):
    record(self, "start")


def write(name, stack):
    records_client().rpush(name, json.dumps(stack))


ack = kombu.message.Message.ack


def told(stack, data):
    if b"\r\nconfirm\r\n" in data or b"\r\nend\r\n" in data:
        write("told", stack)


def received(**_):
    write("fired", ours(sys._getframe()))


if "FRAMED" in os.environ:
    task_received.connect(received)
    kombu.message.Message.ack = lambda self, *args, **options: write(
        "noted", stack_of_putting(lambda: ack(self, *args, **options))
    )
    watching = stacks_of_sending(told)
    watching.__enter__()
