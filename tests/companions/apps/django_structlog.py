"""django-structlog as its page has it: a request's context is bound in the tasks that it calls."""

import os

SECRET_KEY = "not one"
USE_TZ = True
ROOT_URLCONF = "proj"
ALLOWED_HOSTS = ["testserver"]
INSTALLED_APPS = ["django_structlog"]
MIDDLEWARE = ["django_structlog.middlewares.RequestMiddleware"]
DJANGO_STRUCTLOG_CELERY_ENABLED = True
CELERY_BROKER_URL = os.environ["BROKER_URL"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_RESULT_BACKEND = os.environ["RESULT_BACKEND"]
CELERY_DTIMER_URL = os.environ["DTIMER_URL"]
CELERY_DTIMER_TAKEOVER = 0.1

import django  # noqa: E402
import structlog  # noqa: E402
from celery import Celery  # noqa: E402
from django.dispatch import receiver  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django_structlog.celery import signals  # noqa: E402
from django_structlog.celery.steps import DjangoStructLogInitStep  # noqa: E402

import celery_dtimer  # noqa: E402

structlog.configure(
    processors=[structlog.contextvars.merge_contextvars, structlog.processors.JSONRenderer()],
    logger_factory=structlog.PrintLoggerFactory(),
)

app = Celery("shop")
if os.environ["INSTALLED"] == "before":
    celery_dtimer.install(app)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.steps["worker"].add(DjangoStructLogInitStep)
if os.environ["INSTALLED"] == "after":
    celery_dtimer.install(app)


@receiver(signals.modify_context_before_task_publish)
def add_to_context(context, task_routing_key=None, **_):
    context["routed"] = task_routing_key


@receiver(signals.bind_extra_task_metadata)
def bind_more(task, **_):
    due_at = task.request.dtimer and task.request.dtimer.due_at
    structlog.contextvars.bind_contextvars(due=due_at is not None)


@app.task(bind=True)
def bound(self, runs=1):
    """The context that its log lines have, over its retries."""
    if self.request.retries + 1 < runs:
        raise self.retry(countdown=0.2)
    return structlog.contextvars.get_contextvars()


@app.task
def calls():
    """A task that posts, and calls without a delay."""
    return [bound.post_in(0.2).id, bound.delay().id]


def order(request):
    structlog.contextvars.bind_contextvars(order="17")
    posted = {
        "post_in": bound.post_in(0.2),
        "takeover": bound.apply_async(countdown=0.2),
        "retried": bound.post_in(0.2, 2),
        "calls": calls.post_in(0.2),
    }
    return JsonResponse(
        {
            "request": structlog.contextvars.get_contextvars()["request_id"],
            "ids": {name: result.id for name, result in posted.items()},
        }
    )


urlpatterns = [path("order", order)]


def call():
    django.setup()
    from django.test import Client

    seen = Client().get("/order").json()
    ran = {name: app.AsyncResult(each).get(timeout=30) for name, each in seen["ids"].items()}
    ran["posted by a task"], ran["called by a task"] = (app.AsyncResult(each).get(timeout=30) for each in ran["calls"])
    return {**seen, "ran": ran}
