"""A project whose tasks retry at times of every kind."""

import os
from datetime import UTC, date, datetime, timedelta

import arrow
import pendulum
from celery import Celery

import celery_dtimer


class Subclass(datetime):
    pass


app = Celery("proj", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(broker_connection_retry_on_startup=True, dtimer_url=os.environ["DTIMER_URL"])
celery_dtimer.install(app)

SOON = timedelta(seconds=0.3)
TIMES = {
    "pendulum": lambda: {"eta": pendulum.now("Europe/Paris").add(seconds=0.3)},
    "naive pendulum": lambda: {"eta": pendulum.naive(2020, 1, 1)},
    "arrow": lambda: {"eta": arrow.utcnow() + SOON},
    "date": lambda: {"eta": date(2020, 1, 1)},
    "subclass": lambda: {"eta": Subclass.now(UTC) + SOON},
    "text": lambda: {"eta": (datetime.now(UTC) + SOON).isoformat()},
    "bool": lambda: {"countdown": True},
    "float": lambda: {"countdown": 0.3},
    "duration": lambda: {"countdown": pendulum.duration(seconds=0.3)},
}


@app.task(bind=True)
def again(self, name):
    """Runs twice; the second time it says whether the timer fired it."""
    if not self.request.retries:
        raise self.retry(**TIMES[name]())
    return self.request.dtimer is not None
