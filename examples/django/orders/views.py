"""The pages."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from orders import services
from orders.models import Order


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """List the latest orders."""
    return render(request, "orders/index.html", {"orders": Order.objects.order_by("-pk")[:50]})


@require_POST
def place(request: HttpRequest) -> HttpResponse:
    """Place an order."""
    services.place_order(request.POST["email"])
    return redirect("index")


@require_POST
def pay(request: HttpRequest, order_id: int) -> HttpResponse:
    """Pay an order."""
    services.pay(order_id)
    return redirect("index")
