"""What happens to a payment later."""

import logging

from celery import Task

from celery_dtimer import dtimer_task
from shop import config
from shop.payments import gateway

logger = logging.getLogger(__name__)


@dtimer_task(bind=True, max_retries=24)
def collect_payment(self: Task, order_id: str, cents: int) -> None:
    """Collect what an order costs; if the gateway is down, in an hour again, a day long."""
    try:
        gateway.charge(order_id, cents)
    except gateway.GatewayDownError as exc:
        # Plain Celery. Since the timer fired this task, its retry waits in the timer too, and not in a worker's memory.
        raise self.retry(exc=exc, countdown=config.GATEWAY_RETRY_AFTER) from exc
    logger.info("order %s: collected %d cents", order_id, cents)
