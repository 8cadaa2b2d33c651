"""Flask's own pattern: a task class that runs each task in an application context."""

import os

from celery import Celery, Task, shared_task
from flask import Flask, current_app

import celery_dtimer
from celery_dtimer import dtimer_task


def celery_init_app(flask_app):
    class FlaskTask(Task):
        def __call__(self, *args, **kwargs):
            with flask_app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(flask_app.name, task_cls=FlaskTask)
    celery_app.config_from_object(flask_app.config["CELERY"])
    celery_dtimer.install(celery_app)
    celery_app.set_default()
    flask_app.extensions["celery"] = celery_app
    return celery_app


flask_app = Flask("shop")
flask_app.config.from_mapping(
    TITLE="Ada's shop",
    CELERY={
        "broker_url": os.environ["BROKER_URL"],
        "result_backend": os.environ["RESULT_BACKEND"],
        "broker_connection_retry_on_startup": True,
        "dtimer_url": os.environ["DTIMER_URL"],
    },
)
app = celery_init_app(flask_app)


@app.task
def by_app():
    return current_app.config["TITLE"]


@shared_task
def by_celery():
    return current_app.config["TITLE"]


@dtimer_task
def by_timer():
    return current_app.config["TITLE"]


def call():
    """Each task called in each way, out of any application context."""
    return {
        task.name: [task.delay().get(timeout=30), task.post_in(0.2).get(timeout=30)]
        for task in (by_app, by_celery, by_timer)
    }
