"""django-celery-results as its page has it: results in Django's database, with the task's name and arguments."""

import os
from pathlib import Path

SECRET_KEY = "not one"
USE_TZ = True
INSTALLED_APPS = ["django_celery_results"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(__file__).with_name("shop.sqlite3"),
        # A transaction of SQLite that begins to write after it has read may not wait for others.
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
}
CELERY_BROKER_URL = os.environ["BROKER_URL"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_RESULT_BACKEND = "django-db"
CELERY_RESULT_EXTENDED = True
CELERY_DTIMER_URL = os.environ["DTIMER_URL"]
CELERY_DTIMER_TAKEOVER = 0.1

import django  # noqa: E402
from celery import Celery, chord  # noqa: E402

import celery_dtimer  # noqa: E402

app = Celery("shop")
if os.environ["INSTALLED"] == "before":
    celery_dtimer.install(app)
app.config_from_object("django.conf:settings", namespace="CELERY")
if os.environ["INSTALLED"] == "after":
    celery_dtimer.install(app)


@app.task(bind=True)
def add(self, x, y=0):
    return [x + y, self.request.dtimer is not None]


@app.task(bind=True, max_retries=3)
def stubborn(self):
    if not self.request.retries:
        raise self.retry(countdown=0.2)
    return self.request.retries


@app.task
def fail():
    raise ValueError("no")


@app.task
def total(parts):
    return sum(number for number, _ in parts)


def migrate():
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def rows(*ids):
    """What the database has of each task."""
    from django_celery_results.models import TaskResult

    fields = ("status", "task_name", "task_args", "task_kwargs", "result", "periodic_task_name")
    return [TaskResult.objects.values_list(*fields).get(task_id=each) for each in ids]


def call():
    """Tasks called in each way, and what the database has of them in the end."""
    django.setup()
    posted = add.post_in(0.2, 1, y=2)
    taken = add.apply_async((3,), {"y": 4}, countdown=0.2, headers={"periodic_task_name": "each night"})
    retried = stubborn.post_in(0.2)
    failed = fail.apply_async(countdown=0.2)
    sums = chord([add.signature((1, 1), countdown=0.2), add.signature((2, 2), countdown=0.2)])(total.s())
    cancelled = add.post(("never",), {"y": 1}, delay=3600, headers={"periodic_task_name": "each night"})
    cancelled.cancel()
    for result in (posted, taken, retried, failed, sums):
        result.get(timeout=30, propagate=False)
    ids = [result.id for result in (posted, taken, retried, failed, sums, cancelled)]
    return {"rows": rows(*ids), "states": [app.AsyncResult(each).state for each in ids]}
