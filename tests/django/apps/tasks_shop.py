"""Django's Tasks in Celery's workers, in one module: the settings first, then the app that reads them, then tasks."""

import os
from pathlib import Path

SECRET_KEY = "not one"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).with_name("shop.sqlite3")}}
INSTALLED_APPS = ["celery_dtimer.django"]
TASKS = {"default": {"BACKEND": "celery_dtimer.django.tasks.DTimerBackend", "QUEUES": []}}
CELERY_BROKER_URL = os.environ["BROKER_URL"]
CELERY_RESULT_BACKEND = os.environ["RESULT_BACKEND"]
CELERY_RESULT_EXTENDED = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_DTIMER_URL = os.environ["DTIMER_URL"]

from celery import Celery  # noqa: E402

import celery_dtimer  # noqa: E402

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
celery_dtimer.install(app)

import django  # noqa: E402

django.setup()

from django.utils import timezone  # noqa: E402

try:
    from django.tasks import task
    from django.tasks.signals import task_finished, task_started
except ModuleNotFoundError:
    from django_tasks import task
    from django_tasks.signals import task_finished, task_started

SIGNALS = Path(__file__).with_name("signals.txt")


def note(task_result, signal, **_):
    with SIGNALS.open("a") as file:
        file.write(f"{task_result.task.name} {task_result.status}\n")


task_started.connect(note)
task_finished.connect(note)


@task
def add(x, y):
    return (x, x + y)


@task
async def wait(text):
    return text


@task
def fail(order_id):
    raise LookupError(f"no order {order_id}")


@task(takes_context=True)
def tell(context):
    result = context.task_result
    return [result.id, result.status, context.attempt, str(result.task.run_after)]


@task(queue_name="mail")
def mail(address):
    return timezone.now().year > 2000
