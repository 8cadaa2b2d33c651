"""The Django app: what happens once when Django starts."""

from typing import Any

from django.apps import AppConfig

from celery_dtimer.celery_patches.apps import for_each_task, installed_apps

#: The attribute of a Celery app whose tasks are equipped already: Django calls ``ready`` again in some tests.
EQUIPPED = "_dtimer_on_commit"


class DTimerConfig(AppConfig):  # type: ignore[misc] # Django ships no types
    """Gives the tasks of the project's Celery app their methods, and registers the checks."""

    name = "celery_dtimer.django"
    label = "dtimer"
    verbose_name = "Delayed tasks"

    def ready(self) -> None:
        """Equip the apps that ``celery_dtimer.install`` was called on; the project's ``__init__.py`` makes them."""
        from celery_dtimer.django import checks  # noqa: F401, PLC0415 - it registers them, and needs Django to be there
        from celery_dtimer.django.on_commit import equip  # noqa: PLC0415 - its classes are Celery's for Django

        for app in installed_apps():
            equip_app(app, equip)


def equip_app(app: Any, equip: Any) -> None:
    """Equip the tasks that an app has, and those that it will have, once."""
    if not hasattr(app, EQUIPPED):
        setattr(app, EQUIPPED, True)
        for_each_task(app, equip)
