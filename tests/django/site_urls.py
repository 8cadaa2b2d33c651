"""The URLs of the tests' site."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/dtimer/", include("celery_dtimer.django.urls")),
    path("steered/", include("celery_dtimer.django.urls", namespace="steered"), {"write_permission": "auth.add_user"}),
    path("admin/", admin.site.urls),
]
