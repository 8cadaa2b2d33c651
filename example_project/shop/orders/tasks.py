"""What happens to an order later."""

import logging

from celery_dtimer import dtimer_task
from shop import state

logger = logging.getLogger(__name__)


@dtimer_task
def send_payment_reminder(order_id: str) -> None:
    """Remind a customer of an order that is not paid."""
    # An event is delivered at least once, and the order may have been paid while this one was on its way: the task
    # looks before it writes.
    if state.load("order", order_id).get("status") != "placed":
        return
    state.save("order", order_id, status="reminded")
    logger.info("order %s: please pay", order_id)
