"""Tests of the shop.

Each is a transaction that is never committed, so what waits for its commit is captured. The test decides what time it
is for the timer, whose events are in a namespace of their own meanwhile.
"""

from datetime import timedelta

from django.conf import settings
from django.core import mail
from django.test import TestCase
from shop.celery import app

from celery_dtimer.testing import virtual_timer
from orders import services
from orders.models import Order


class OrderTest(TestCase):
    """What becomes of an order as time passes."""

    def setUp(self) -> None:
        """Let time stand still."""
        self.timer = self.enterContext(virtual_timer(app, url=settings.CELERY_DTIMER_URL))

    def order(self) -> Order:
        """Place an order, and commit it."""
        with self.captureOnCommitCallbacks(execute=True):
            return services.place_order("ada@example.com")

    def later(self, delay: timedelta) -> None:
        """Let time pass. What comes due runs, and commits."""
        with self.captureOnCommitCallbacks(execute=True):
            self.timer.advance(delay)

    def test_an_order_is_reminded_of_and_cancelled(self) -> None:
        """Both in their time, and not before."""
        order = self.order()
        self.timer.assert_posted("orders.tasks.remind", args=[order.pk], in_=settings.SHOP_REMIND_AFTER)
        self.later(settings.SHOP_REMIND_AFTER - timedelta(milliseconds=1))
        self.assertEqual(mail.outbox, [])
        self.later(timedelta(milliseconds=1))
        self.assertEqual([message.subject for message in mail.outbox], ["Please pay"])
        self.later(settings.SHOP_CANCEL_AFTER)
        order.refresh_from_db()
        self.assertEqual(order.state, Order.State.CANCELLED)

    def test_a_payment_ends_the_reminder(self) -> None:
        """It is cancelled at the commit."""
        order = self.order()
        with self.captureOnCommitCallbacks(execute=True):
            self.assertTrue(services.pay(order.pk))
        self.assertEqual(self.timer.pending(), [])
        self.assertFalse(services.pay(order.pk))

    def test_a_payment_between_reminder_and_end_counts(self) -> None:
        """The end is cancelled, too."""
        order = self.order()
        self.later(settings.SHOP_REMIND_AFTER)
        with self.captureOnCommitCallbacks(execute=True):
            services.pay(order.pk)
        self.assertEqual(self.timer.pending(), [])

    def test_an_order_that_is_rolled_back_is_not_reminded_of(self) -> None:
        """Nothing is posted before the commit."""
        services.place_order("ada@example.com")
        self.assertEqual(self.timer.pending(), [])
