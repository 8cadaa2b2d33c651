"""Django's own layout, in one module: its settings first, then the app that reads them."""

import os
from functools import partial
from pathlib import Path

SECRET_KEY = "not one"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).with_name("shop.sqlite3")}}
CELERY_BROKER_URL = os.environ["BROKER_URL"]
CELERY_RESULT_BACKEND = os.environ["RESULT_BACKEND"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_DTIMER_URL = os.environ["DTIMER_URL"]

from celery import Celery, shared_task  # noqa: E402
from django.db import transaction  # noqa: E402

import celery_dtimer  # noqa: E402
from celery_dtimer import dtimer_task  # noqa: E402

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
celery_dtimer.install(app)


@app.task(bind=True)
def by_app(self):
    return type(self).__mro__[-3].__name__


@shared_task(bind=True)
def by_celery(self):
    return type(self).__mro__[-3].__name__


@dtimer_task(bind=True)
def by_timer(self):
    return type(self).__mro__[-3].__name__


TASKS = [by_app, by_celery, by_timer]


def call():
    """Each task called in each way after a transaction, and none of what a transaction that fails has called."""
    results, before = {}, []
    posted = []

    def post(task):
        posted.append(task.post_in(0.2))

    for task in TASKS:
        with transaction.atomic():
            task.delay_on_commit()
            task.apply_async_on_commit(countdown=0.2)
            transaction.on_commit(partial(post, task))
            before.append(len(posted))
        results[task.name] = [task.delay().get(timeout=30), posted[-1].get(timeout=30)]
        try:
            with transaction.atomic():
                transaction.on_commit(partial(post, task))
                raise ValueError("rolled back")
        except ValueError:
            pass
    return {"results": results, "before": before, "posted": len(posted)}
