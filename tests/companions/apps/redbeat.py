"""celery-redbeat as its page has it, and Celery's own beat: entries whose options have a countdown."""

import os

from celery import Celery
from celery.schedules import schedule

import celery_dtimer

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
if os.environ["INSTALLED"] == "before":
    celery_dtimer.install(app)
app.conf.update(
    broker_connection_retry_on_startup=True,
    dtimer_url=os.environ["DTIMER_URL"],
    dtimer_takeover=0.1,
    redbeat_redis_url=os.environ["BROKER_URL"],
    redbeat_key_prefix="beats:",
    beat_schedule={
        "configured": {
            "task": "proj.note",
            "schedule": 1.0,
            "args": ("configured",),
            "options": {"countdown": 0.3, "expires": 60},
        },
        "undelayed": {"task": "proj.note", "schedule": 1.0, "args": ("undelayed",)},
    },
)


@app.task(bind=True)
def note(self, name):
    return [name, self.request.dtimer is not None]


def add_entry():
    """An entry that is added while beat runs."""
    from redbeat import RedBeatSchedulerEntry

    every = schedule(run_every=1, app=app)
    options = {"countdown": 0.3}
    RedBeatSchedulerEntry("dynamic", "proj.note", every, args=["dynamic"], options=options, app=app).save()


if os.environ["INSTALLED"] == "after":
    celery_dtimer.install(app)
