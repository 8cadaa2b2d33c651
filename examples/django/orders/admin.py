"""Orders in the admin."""

from django.contrib import admin

from orders.models import Order


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """A list of orders, with the task that waits for each."""

    list_display = ("__str__", "state", "created_at", "timer_id")
    list_filter = ("state",)
