"""celery-once as its page has it: a task that is in the queue, or the timer, already is refused."""

import os

from celery import Celery
from celery_once import AlreadyQueued, QueueOnce

import celery_dtimer

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
if os.environ["INSTALLED"] == "before":
    celery_dtimer.install(app)
app.conf.update(broker_connection_retry_on_startup=True, dtimer_url=os.environ["DTIMER_URL"], dtimer_takeover=0.1)
app.conf.ONCE = {
    "backend": "celery_once.backends.Redis",
    "settings": {"url": os.environ["BROKER_URL"], "default_timeout": 3600},
}


@app.task(bind=True, base=QueueOnce)
def once(self, order_id, runs=1):
    if self.request.retries + 1 < runs:
        raise self.retry(countdown=0.2)
    return [order_id, self.request.dtimer is not None]


@app.task(bind=True, base=QueueOnce, once={"graceful": True})
def graceful(self, order_id):
    return order_id


if os.environ["INSTALLED"] == "after":
    celery_dtimer.install(app)


def refused(call, *args, **options):
    try:
        call(*args, **options)
    except AlreadyQueued:
        return True
    return False


def lock(task, *args):
    return bool(task.once_backend.redis.exists(task.get_key(args, {})))


def call():
    """Each way of a post while the first waits, after it has run, and after a cancel."""
    ways = {"post_in": lambda n: once.post_in(0.5, n), "takeover": lambda n: once.apply_async((n,), countdown=0.5)}
    seen = {}
    for name, way in ways.items():
        first = way(name)
        duplicates = [refused(other, name) for other in (*ways.values(), once.delay)]
        ran = first.get(timeout=30)
        seen[name] = [duplicates, ran, free_at_last(once, name), way(name).get(timeout=30)]
    seen["retried"] = [once.post_in(0.2, "r", 2).get(timeout=30), free_at_last(once, "r", 2)]
    seen["graceful"] = [graceful.post_in(0.5, 1).get, graceful.post_in(0.5, 1)]
    first, second = seen["graceful"]
    seen["graceful"] = [second.state, bool(second.cancel()), second.peek(), first(timeout=30)]
    # The lock of a task that waits for a day has to last longer than celery-once's default.
    patient = once.post(("p",), delay=86_400, once={"timeout": 90_000})
    seen["patient"] = [once.once_backend.redis.ttl(once.get_key(("p",))) > 86_400, bool(patient.cancel())]
    # A cancelled task never runs: nothing of it clears the lock.
    waits = once.post_in(3600, "c")
    seen["cancelled"] = [bool(waits.cancel()), refused(once.post_in, 3600, "c")]
    once.once_backend.clear_lock(once.get_key(("c",)))
    again = once.post_in(0.2, "c")
    seen["cleared"] = again.get(timeout=30)
    return seen


def free_at_last(task, *args):
    import time

    until = time.monotonic() + 10
    while time.monotonic() < until and lock(task, *args):
        time.sleep(0.02)
    return not lock(task, *args)
