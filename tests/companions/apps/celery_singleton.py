"""celery-singleton as its page has it: a second call gets the result of the one that waits."""

import os

from celery import Celery
from celery_singleton import DuplicateTaskError, Singleton

import celery_dtimer

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
if os.environ["INSTALLED"] == "before":
    celery_dtimer.install(app)
app.conf.update(
    broker_connection_retry_on_startup=True,
    dtimer_url=os.environ["DTIMER_URL"],
    dtimer_takeover=0.1,
    singleton_backend_url=os.environ["BROKER_URL"],
)


@app.task(bind=True, base=Singleton)
def single(self, order_id):
    return [order_id, self.request.dtimer is not None]


@app.task(bind=True, base=Singleton, raise_on_duplicate=True)
def strict(self, order_id):
    return order_id


if os.environ["INSTALLED"] == "after":
    celery_dtimer.install(app)


def free_at_last(task, *args):
    import time

    lock, until = task.generate_lock(task.name, list(args)), time.monotonic() + 10
    while time.monotonic() < until and task.get_existing_task_id(lock):
        time.sleep(0.02)
    return not task.get_existing_task_id(lock)


def call():
    """Each way of a post while the first waits, after it has run, and after a cancel."""
    ways = {"post_in": lambda n: single.post_in(0.5, n), "takeover": lambda n: single.apply_async((n,), countdown=0.5)}
    seen = {}
    for name, way in ways.items():
        first = way(name)
        same = [other(name).id == first.id for other in (*ways.values(), single.delay)]
        seen[name] = [same, first.get(timeout=30), free_at_last(single, name), way(name).get(timeout=30)]
    first = strict.post_in(0.5, 1)
    try:
        strict.post_in(0.5, 1)
    except DuplicateTaskError as exc:
        seen["strict"] = [exc.task_id == first.id, first.get(timeout=30)]
    # The second caller moves and cancels the event of the first.
    waits = single.post_in(3600, "c")
    other = single.post_in(60, "c")
    seen["shared"] = [bool(other.change_delay(1800)), bool(waits.cancel())]
    # A cancelled task never runs: nothing of it clears the lock.
    lost = single.post_in(3600, "c")
    seen["cancelled"] = [lost.id == waits.id, lost.peek()]
    single.release_lock(["c"])
    seen["released"] = single.post_in(0.2, "c").get(timeout=30)
    return seen
