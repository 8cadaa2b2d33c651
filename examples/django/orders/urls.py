"""The URLs of orders."""

from django.urls import path

from orders import views

urlpatterns = [
    path("", views.index, name="index"),
    path("orders/", views.place, name="place"),
    path("orders/<int:order_id>/pay/", views.pay, name="pay"),
]
