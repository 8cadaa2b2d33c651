"""The console's place: ``path("admin/dtimer/", include("celery_dtimer.django.urls"))``, above the admin's own."""

from django.urls import path

from celery_dtimer.django.console import console_page

app_name = "dtimer"

urlpatterns = [
    path("", console_page, name="console"),
    path("<path:page>", console_page, name="page"),
]
