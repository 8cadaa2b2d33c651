"""The tasks. A task may run twice if its worker dies in the middle, so each looks at the order first."""

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction

from celery_dtimer.django import dtimer_task
from orders.models import Order


@dtimer_task
def remind(order_id: int) -> None:
    """Ask the customer to pay, and post the end of the order."""
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=order_id)
        if order.state != Order.State.OPEN:
            return
        delay, tags = settings.SHOP_CANCEL_AFTER, [f"order:{order_id}"]
        # An id of its own: a second run posts the same event, and not another one.
        end = cancel.post_on_commit(
            (order_id,), delay=delay, tags=tags, task_id=f"cancel-order-{order_id}", on_conflict="keep"
        )
        order.timer_id = end.id
        order.save(update_fields=["timer_id"])
    send_mail("Please pay", f"Your order {order_id} waits for its payment.", "shop@example.com", [order.email])


@dtimer_task
def cancel(order_id: int) -> None:
    """Cancel an order that nobody has paid."""
    cancelled = Order.objects.filter(pk=order_id, state=Order.State.OPEN).update(state=Order.State.CANCELLED)
    if cancelled:
        email = Order.objects.get(pk=order_id).email
        send_mail("Cancelled", f"Your order {order_id} is cancelled.", "shop@example.com", [email])
