"""What happens to orders."""

from django.conf import settings
from django.db import transaction

from celery_dtimer import TimerResult
from orders.models import Order
from orders.tasks import remind


@transaction.atomic
def place_order(email: str) -> Order:
    """Store an order, and post its reminder with it: both are there after the commit, or neither."""
    order = Order.objects.create(email=email)
    delay, tags = settings.SHOP_REMIND_AFTER, [f"order:{order.pk}"]
    order.timer_id = remind.post_on_commit((order.pk,), delay=delay, tags=tags).id
    order.save(update_fields=["timer_id"])
    return order


@transaction.atomic
def pay(order_id: int) -> bool:
    """Note a payment, and cancel what waits for the order. Says whether the order was open."""
    order = Order.objects.select_for_update().get(pk=order_id)
    if order.state != Order.State.OPEN:
        return False
    order.state = Order.State.PAID
    order.save(update_fields=["state"])
    # After the commit: a payment that is rolled back leaves the reminder where it is.
    transaction.on_commit(TimerResult(order.timer_id).cancel)
    return True
