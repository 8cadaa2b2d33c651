"""A user's project: its app is made where it is imported, and neither its broker nor its Redis is there."""

from datetime import timedelta

from celery import Celery

import celery_dtimer
from celery_dtimer import dtimer_task

app = Celery("shop", broker="amqp://localhost:1", backend="redis://localhost:1/0")
app.conf.update(dtimer_url="redis://localhost:1/0", dtimer_takeover=60, dtimer_metrics_port=9540)
celery_dtimer.install(app)
sent = []


@dtimer_task(name="shop.remind")
def remind(order):
    sent.append(f"remind {order}")
    escalate.post_in(timedelta(days=7), order)


@dtimer_task(name="shop.escalate", bind=True)
def escalate(self, order):
    if not self.request.retries:
        raise self.retry(countdown=3600)
    sent.append(f"escalate {order}")
    return order
