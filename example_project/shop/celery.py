"""The shop's Celery app."""

from celery import Celery

import celery_dtimer
from shop import config

app = Celery("shop", broker=config.BROKER_URL)
app.conf.update(
    dtimer_url=config.REDIS_URL,
    dtimer_confirm_timeout=config.CONFIRM_TIMEOUT,
    # Some tasks take seconds: a worker claims no more than it has processes for, and leaves the rest to others.
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
)
celery_dtimer.install(app)
app.autodiscover_tasks(["shop.accounts", "shop.baskets", "shop.orders", "shop.payments"])
