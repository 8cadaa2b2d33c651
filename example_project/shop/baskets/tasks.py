"""What happens to a basket later."""

import logging

from celery_dtimer import dtimer_task
from shop import state

logger = logging.getLogger(__name__)


@dtimer_task
def lapse_basket(basket_id: str) -> None:
    """Empty a basket that nobody has touched, so that its goods can be sold."""
    state.save("basket", basket_id, status="lapsed")
    logger.info("basket %s: lapsed", basket_id)
