"""The project. Its Celery app is made when Django starts, so that the tasks belong to it."""

from shop.celery import app as celery_app

__all__ = ("celery_app",)
