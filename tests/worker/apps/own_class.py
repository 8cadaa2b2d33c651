"""A project with a task class of its own: each task runs for the tenant that its caller had."""

import contextvars
import os

from celery import Celery, Task, shared_task

import celery_dtimer
from celery_dtimer import dtimer_task

tenant = contextvars.ContextVar("tenant", default="nobody")


class TenantTask(Task):
    """Takes the tenant along in a header, and runs the task for that one."""

    def apply_async(self, args=None, kwargs=None, **options):
        headers = {**(options.pop("headers", None) or {}), "tenant": tenant.get()}
        return super().apply_async(args, kwargs, headers=headers, **options)

    def __call__(self, *args, **kwargs):
        token = tenant.set(self.request.get("tenant"))
        try:
            return f"for {tenant.get()}: {self.run(*args, **kwargs)}"
        finally:
            tenant.reset(token)


class OtherTask(Task):
    """A second class, which a task asks for by ``base``."""

    def __call__(self, *args, **kwargs):
        return f"in the other class: {self.run(*args, **kwargs)}"


app = Celery("proj", task_cls=TenantTask, broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(broker_connection_retry_on_startup=True, dtimer_url=os.environ["DTIMER_URL"])
celery_dtimer.install(app)


@app.task
def by_app():
    return tenant.get()


@shared_task
def by_celery():
    return tenant.get()


@dtimer_task
def by_timer():
    return tenant.get()


@dtimer_task(bind=True)
def bound(self):
    return f"{tenant.get()} {self.request.dtimer is not None}"


@dtimer_task(base=OtherTask)
def elsewhere():
    return tenant.get()


TASKS = [by_app, by_celery, by_timer]


def call():
    """Each task called in each way, for a tenant."""
    tenant.set("Ada")
    results = {}
    for task in TASKS:
        called = [task.delay(), task.post_in(0.2), task.post(delay=0.2), task.s().set(countdown=0.2).delay()]
        results[task.name] = [result.get(timeout=30) for result in called]
    results["bound"] = bound.post_in(0.2).get(timeout=30)
    results["elsewhere"] = elsewhere.post_in(0.2).get(timeout=30)
    return results
