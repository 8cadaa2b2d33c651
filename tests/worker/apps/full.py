"""Tasks that post and retry while the timer's Redis takes no posts, or does not answer."""

import os
import time

import redis
from celery import Celery

import celery_dtimer

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    dtimer_url=os.environ["DTIMER_URL"],
    dtimer_confirm_timeout=2,
)
celery_dtimer.install(app)


@app.task(bind=True)
def note(self, value):
    return value


@app.task(bind=True)
def posts(self):
    """Posts another task, and does nothing about a refusal."""
    note.post_in(0.1, "posted")


@app.task(bind=True, acks_late=True)
def posts_late(self):
    note.post_in(0.1, "posted")


@app.task(bind=True, max_retries=5)
def retries(self, runs, countdown):
    if self.request.retries + 1 < runs:
        raise self.retry(countdown=countdown)
    return self.request.retries


@app.task(bind=True, max_retries=5, acks_late=True)
def retries_late(self, runs, countdown):
    if self.request.retries + 1 < runs:
        raise self.retry(countdown=countdown)
    return self.request.retries


@app.task(bind=True, acks_late=True)
def retries_when_told(self):
    if self.request.retries:
        return "retried"
    with redis.Redis.from_url(os.environ["RESULT_BACKEND"]) as client:
        client.rpush("waits", "1")
        client.blpop("go", timeout=20)
    raise self.retry(countdown=0.2)


@app.task(bind=True, acks_late=True)
def naps(self, seconds):
    time.sleep(seconds)
    return self.request.dtimer.redeliveries


@app.task(bind=True, acks_late=True)
def rejects(self):
    """Rejects its message twice: requeued the first time, so released and then parked."""
    from celery.exceptions import Reject

    raise Reject("no", requeue=self.request.dtimer.redeliveries == 0)
