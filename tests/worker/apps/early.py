"""A project whose tasks reach the pool in their own ways, and write down when they ran."""

import os

from celery import Celery
from celery.worker.request import Request
from celery.worker.strategy import default
from rig.records import record, records  # noqa: F401 - read by the tests

import celery_dtimer

app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(broker_connection_retry_on_startup=True, dtimer_url=os.environ["DTIMER_URL"])
celery_dtimer.install(app)


class OwnRequest(Request):
    """Runs its task at once, past the pool."""

    def execute_using_pool(self, *_pool, **_options):
        return self.execute()


def own_strategy(task, app, consumer, **options):
    """Hand a task over as Celery does."""
    return default(task, app, consumer, **options)


@app.task(bind=True)
def usual(self):
    record(self, "start")


@app.task(bind=True, Request=OwnRequest)
def at_once(self):
    record(self, "start")


@app.task(bind=True, Strategy="proj:own_strategy")
def planned(self):
    record(self, "start")
