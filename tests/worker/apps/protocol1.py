"""A project that sends messages of protocol 1, as before Celery 4: the task's name is in the body."""

import json
import os

from celery import Celery

import celery_dtimer

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    dtimer_url=os.environ["DTIMER_URL"],
    dtimer_task_aliases=json.loads(os.environ.get("TASK_ALIASES", "null")),
    dtimer_takeover=0.1,
    task_protocol=1,
)
celery_dtimer.install(app)


def seen(self, value):
    info = self.request.dtimer
    return [value, info is not None, self.request.retries, self.request.headers.get("mine")]


@app.task(bind=True)
def look(self, value):
    return seen(self, value)


@app.task(bind=True)
def again(self, value):
    if not self.request.retries:
        raise self.retry(countdown=0.2)
    return seen(self, value)


if os.environ.get("KNOWS_NEWCOMER") == "1":

    @app.task(bind=True)
    def newcomer(self, value):
        return seen(self, value)
