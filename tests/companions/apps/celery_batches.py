"""celery-batches as its page has it: a task that is given many calls at once, and stores the result of each."""

import os
import time
from datetime import UTC, datetime, timedelta

import redis
from celery import Celery
from celery_batches import Batches

import celery_dtimer

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
if os.environ["INSTALLED"] == "before":
    celery_dtimer.install(app)
app.conf.update(
    broker_connection_retry_on_startup=True,
    dtimer_url=os.environ["DTIMER_URL"],
    dtimer_takeover=0.1,
    dtimer_confirm_timeout=1,
)
marks = redis.Redis.from_url(os.environ["RESULT_BACKEND"], decode_responses=True)


def run(requests):
    """Mark what begins, wait if a call says so, and store for each call what the batch was."""
    marks.rpush("begun", *(request.id for request in requests))
    firsts = [request for request in requests if not request.delivery_info["redelivered"]]
    time.sleep(max((request.kwargs.get("seconds", 0) for request in firsts), default=0))
    names = sorted(request.args[0] for request in requests)
    for request in requests:
        fired = request.request_dict["dtimer"] is not None
        app.backend.mark_as_done(request.id, [names, fired], request=request)


early = app.task(run, name="proj.early", base=Batches, flush_every=3, flush_interval=2)
late = app.task(run, name="proj.late", base=Batches, flush_every=3, flush_interval=2, acks_late=True)
large = app.task(run, name="proj.large", base=Batches, flush_every=20, flush_interval=2)
fresh = app.task(
    run,
    name="proj.fresh",
    base=Batches,
    flush_every=3,
    flush_interval=2,
    dtimer_options={"misfire": "drop", "grace": 60},
)
if os.environ["INSTALLED"] == "after":
    celery_dtimer.install(app)

timer = celery_dtimer.get_timer(app)


def get(*results):
    return [result.get(timeout=30) for result in results]


def leased():
    return timer.count().leased


def wait_for_none():
    until = time.monotonic() + 10
    while time.monotonic() < until and leased():
        time.sleep(0.02)
    return not leased()


def soon():
    return datetime.now(UTC) + timedelta(seconds=1)


def call():
    """Full batches, one that is not full, and more calls than a worker holds."""
    # All at one instant, so that no flush comes between them.
    eta = soon()
    full = {
        task: [
            task.post_at(eta, "posted"),
            task.apply_async(("taken",), eta=eta),
            task.post(("third",), eta=eta),
        ]
        for task in (early, late)
    }
    seen = {task.name: get(*results) for task, results in full.items()}
    eta, alone = soon(), early.post_in(0.3, "alone")
    many = [large.post_at(eta, number) for number in range(10)]
    # A worker of two threads or processes holds eight events: its prefetch count.
    seen["most"] = max(len(names) for names, _ in get(*many))
    seen["alone"] = get(alone)
    seen["confirmed"] = wait_for_none()
    return seen


def call_slowly():
    """How many events are leased while their batch runs for longer than a lease, and how often each has run."""
    eta = soon()
    results = [late.post_at(eta, name, seconds=3) for name in "abc"]
    while marks.llen("begun") < 3:
        time.sleep(0.02)
    leased_amid = leased()
    get(*results)
    return {"amid": leased_amid, "after": wait_for_none(), "runs": marks.llen("begun")}


def begin():
    """The ids of a batch that a worker has begun, and will not end soon."""
    eta = soon()
    ids = [late.post_at(eta, name, seconds=60).id for name in "abc"]
    while marks.llen("begun") < len(ids):
        time.sleep(0.02)
    return ids


def post_late():
    """Events that are too late when a worker comes, and one that is not."""
    ids = [fresh.post_at(f"2020-01-01T00:00:0{n}+00:00", "late").id for n in range(3)]
    return [*ids, fresh.post_in(0, "in time").id]


def results(ids):
    found = [app.AsyncResult(each) for each in ids]
    return [[each.get(timeout=30, propagate=False), each.state] for each in found]
