"""The console's place: ``path("admin/dtimer/", include("celery_dtimer.django.urls"))``, above the admin's own."""

from django.urls import path

try:
    from celery_dtimer.django.console import console_page
except ModuleNotFoundError as exc:
    if exc.name != "a2wsgi":
        raise
    raise ModuleNotFoundError(
        "the console needs a2wsgi, which is not installed: pip install 'celery-dtimer[django]'", name=exc.name
    ) from exc

app_name = "dtimer"

urlpatterns = [
    path("", console_page, name="console"),
    path("<path:page>", console_page, name="page"),
]
