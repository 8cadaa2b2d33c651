"""What the shop does with an order."""

from datetime import timedelta

from celery_dtimer import TimerResult
from shop import celery_app, state
from shop.orders.tasks import send_payment_reminder

REMIND_AFTER = timedelta(days=1)


def place_order(order_id: str, cents: int, remind_after: float | timedelta = REMIND_AFTER) -> TimerResult:
    """Place an order; its reminder is posted, and its id kept with the order."""
    state.save("order", order_id, status="placed", cents=cents)
    reminder = send_payment_reminder.post_in(remind_after, order_id)
    state.save("order", order_id, reminder=reminder.id)
    return reminder


def pay(order_id: str) -> bool:
    """Take note that an order is paid, and cancel its reminder.

    Returns:
        Whether the reminder was cancelled. False: it was delivered before.
    """
    state.save("order", order_id, status="paid")
    # Any process can ask for an event by its id: a TimerResult need not be the one that the post returned.
    reminder = TimerResult(state.load("order", order_id)["reminder"], app=celery_app)
    return bool(reminder.cancel())
