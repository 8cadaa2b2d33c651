"""django-celery-beat as its page has it, with django-celery-results: entries in Django's database."""

import os
from pathlib import Path

SECRET_KEY = "not one"
USE_TZ = True
INSTALLED_APPS = ["django_celery_results", "django_celery_beat"]
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
# The database has no column for a countdown: it is dropped when the entry is stored.
CELERY_BEAT_SCHEDULE = {
    "configured": {"task": "proj.note", "schedule": 1.0, "args": ("configured",), "options": {"countdown": 0.3}}
}

import django  # noqa: E402
from celery import Celery  # noqa: E402

import celery_dtimer  # noqa: E402

app = Celery("shop")
if os.environ["INSTALLED"] == "before":
    celery_dtimer.install(app)
app.config_from_object("django.conf:settings", namespace="CELERY")
if os.environ["INSTALLED"] == "after":
    celery_dtimer.install(app)


@app.task(bind=True)
def note(self, name):
    return [name, self.request.dtimer is not None]


@app.task(bind=True)
def remind(self, name):
    """What an entry of this scheduler calls for a delay of its own."""
    night = {"periodic_task_name": self.request.periodic_task_name}
    return note.post((name,), delay=0.3, headers=night).id


def make_entry():
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    every, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.create(interval=every, name="each second", task="proj.remind", args='["delayed"]')


def rows():
    """The results that the database has, and the entries that they are of."""
    django.setup()
    from django_celery_results.models import TaskResult

    found = TaskResult.objects.filter(status="SUCCESS", task_name="proj.note")
    return list(found.values_list("result", "periodic_task_name").distinct())


def wait_for_rows():
    import time

    until = time.monotonic() + 30
    while time.monotonic() < until and len(rows()) < 2:
        time.sleep(0.2)
    return rows()
