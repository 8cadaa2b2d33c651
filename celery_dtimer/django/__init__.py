"""A Django app: ``INSTALLED_APPS = ["celery_dtimer.django", ...]``.

Tasks get ``post_in_on_commit``, ``post_at_on_commit`` and ``post_on_commit``, and ``manage.py check`` looks at the
settings. The console may stand in Django's admin (``urls``); Django's Tasks may run in Celery's workers (``tasks``).
"""

from celery_dtimer.django.decorator import dtimer_task

__all__ = ("dtimer_task",)
