"""What the shop does with a payment."""

from datetime import timedelta

from celery_dtimer import TimerResult
from shop.payments.tasks import collect_payment

PAY_LATER = timedelta(days=30)


def pay_later(order_id: str, cents: int, after: float | timedelta = PAY_LATER) -> TimerResult:
    """Let a customer pay in thirty days."""
    return collect_payment.post_in(after, order_id, cents)
