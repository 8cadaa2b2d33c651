"""``TASKS = {"default": {"BACKEND": "celery_dtimer.django.tasks.DTimerBackend"}}``.

Celery's ``autodiscover_tasks`` imports this module in every worker: Django's Tasks are loaded only if the settings name
the backend.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery_dtimer.django.backend import DTimerBackend

__all__ = ("DTimerBackend",)


def __getattr__(name: str) -> Any:
    """Return the backend, when it is asked for.

    Raises:
        AttributeError: There is no such name.
        ImportError: There are no Tasks: Django is older than 6.0, and its backport is not installed.
    """
    if name != "DTimerBackend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from celery_dtimer.django.backend import DTimerBackend  # noqa: PLC0415 - see above

    return DTimerBackend
