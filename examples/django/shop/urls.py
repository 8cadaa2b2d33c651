"""The URLs of the project. The admin answers to every URL below its own, so the console stands above it."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/dtimer/", include("celery_dtimer.django.urls"), {"write_permission": "orders.change_order"}),
    path("admin/", admin.site.urls),
    path("", include("orders.urls")),
]
