"""A project whose tasks are called in every shape that Celery has, natively or under takeover."""

import json
import os

from celery import Celery

import celery_dtimer

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    broker_transport_options=json.loads(os.environ["BROKER_TRANSPORT_OPTIONS"]),
    broker_connection_retry_on_startup=True,
    dtimer_url=os.environ["DTIMER_URL"],
    dtimer_takeover=float(os.environ["TAKEOVER"]) if "TAKEOVER" in os.environ else None,
    result_extended=True,
    task_allow_error_cb_on_chord_header=True,
    task_store_errors_even_if_ignored=True,
)
celery_dtimer.install(app)

SOON = 0.3


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def double(x):
    return 2 * x


@app.task
def fail():
    raise ValueError("on purpose")


@app.task(bind=True)
def remember_failure(self, failed_id, key):
    """Leave a mark outside the result backend's own records. With one argument, errbacks are sent as tasks."""
    self.backend.client.rpush(f"mark:{key}", "failed")


@app.task(bind=True)
def about(self):
    """What a task can see of its own call, apart from ids and times."""
    request = self.request
    return {
        "retries": request.retries,
        "is_root": request.root_id == request.id,
        "has_parent": request.parent_id is not None,
        "headers": request.headers,
        "stamps": request.stamps,
        "priority": request.delivery_info["priority"],
        "routing_key": request.delivery_info["routing_key"],
        "expires": request.expires is not None,
        "timelimit": request.timelimit,
        "shadow": request.shadow,
        "reply_to": bool(request.reply_to),
    }


@app.task(bind=True, max_retries=3)
def retry_by_countdown(self, runs):
    if self.request.retries + 1 < runs:
        raise self.retry(countdown=SOON)
    return self.request.retries


@app.task(bind=True, max_retries=3)
def retry_by_eta(self, runs):
    from datetime import UTC, datetime, timedelta

    if self.request.retries + 1 < runs:
        raise self.retry(eta=datetime.now(UTC) + timedelta(seconds=SOON))
    return self.request.retries


@app.task(bind=True, autoretry_for=(ZeroDivisionError,), default_retry_delay=SOON, retry_jitter=False)
def autoretry(self, runs):
    if self.request.retries + 1 < runs:
        return 1 // 0
    return self.request.retries


@app.task(bind=True, max_retries=1)
def retry_in_vain(self):
    raise self.retry(countdown=SOON, exc=ValueError("never"))


@app.task(bind=True)
def replaced(self, x):
    raise self.replace(double.s(x).set(countdown=SOON))


@app.task(bind=True)
def expanded(self, x):
    """Add to the chord that this is part of, later."""
    return self.replace(add.s(x, x).set(countdown=SOON))


@app.task(bind=True)
def parent(self, x):
    double.apply_async((x,), countdown=SOON)
    add.apply_async((x, 1))
    return x


@app.task(ignore_result=True, bind=True)
def silent(self, key):
    self.backend.client.rpush(f"mark:{key}", "ran")
