"""The project behind the pages: a shop with tasks as people have them, and some whose names attack what shows them."""

import os
import time

from celery import Celery
from celery.exceptions import Reject

import celery_dtimer
from celery_dtimer import dtimer_task

app = Celery("shop", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    dtimer_url=os.environ["DTIMER_URL"],
    task_default_queue="orders",
    # An hour by default: too long for tests.
    dtimer_unknown_task_patience=1,
    task_routes={
        "shop.mail.*": {"queue": "mail"},
        "shop.billing.*": {"queue": "billing"},
        "shop.reports.*": {"queue": "reports"},
        "shop.imports.*": {"queue": "imports"},
    },
)
celery_dtimer.install(app)

#: What a page that did not escape would run, fetch or break at. The last has the 255 bytes that a name may have.
HOSTILE = (
    "<script>window.pwned = 1</script>",
    '"><img src=x onerror="window.pwned = 1">',
    "'-alert(1)-'",
    "</title><h1>pwned</h1>",
    "javascript:window.pwned=1",
    "\x1b[31mred\x1b[0m\x07",
    "\u202egnp.exe {{7*7}} ${7*7} %s",
    "a/../../b?c=d#e%2f",
    "w" * 255,
)


def nothing(*args, **kwargs): ...


for name in HOSTILE:
    app.task(name=name)(nothing)


@app.task(name="shop.orders.remind")
def remind(order_id): ...


@app.task(name="shop.orders.expire_cart")
def expire_cart(cart_id, *, notify=True): ...


@app.task(name="shop.mail.digest")
def digest(customer, period="weekly"): ...


@app.task(name="shop.mail.welcome")
def welcome(customer): ...


@dtimer_task(name="shop.mail.coupon", misfire="park", grace=600)
def coupon(customer):
    """Worth nothing when it is late."""


@app.task(name="shop.billing.charge")
def charge(subscription, amount): ...


@app.task(name="shop.billing.refund", acks_late=True)
def refund(order_id, amount):
    """The payment provider has refused: parked."""
    raise Reject(f"refund of {order_id} refused", requeue=False)


@app.task(name="shop.billing.dun")
def dun(invoice): ...


@app.task(name="shop.reports.export", acks_late=True)
def export(table):
    """Long enough to be looked at."""
    time.sleep(600)


@app.task(name="shop.reports.nightly")
def nightly(day): ...


@app.task(name="shop.imports.stock")
def stock(warehouse): ...
