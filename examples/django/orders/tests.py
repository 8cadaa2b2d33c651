"""Tests of the shop. Each is a transaction that is never committed, so what waits for its commit is captured."""

from django.core import mail
from django.test import TestCase
from shop.celery import app

from celery_dtimer import get_timer
from orders import services
from orders.models import Order
from orders.tasks import cancel, remind


class OrderTest(TestCase):
    """What is posted and cancelled."""

    def setUp(self) -> None:
        """End what a test has left waiting."""
        timer = get_timer(app)
        self.addCleanup(lambda: timer.cancel_many([event.id for event in timer.upcoming()]))

    def order(self) -> Order:
        """Place an order, and commit it."""
        with self.captureOnCommitCallbacks(execute=True):
            return services.place_order("ada@example.com")

    def test_an_order_is_reminded_of(self) -> None:
        """Its reminder waits, under the id that the order has."""
        order = self.order()
        event = get_timer(app).peek(order.timer_id)
        self.assertEqual((event.task, event.args), ("orders.tasks.remind", f"({order.pk},)"))

    def test_an_order_that_is_rolled_back_is_not(self) -> None:
        """Nothing is posted before the commit."""
        services.place_order("ada@example.com")
        self.assertEqual(get_timer(app).count().pending, 0)

    def test_a_payment_ends_the_reminder(self) -> None:
        """It is cancelled at the commit."""
        order = self.order()
        with self.captureOnCommitCallbacks(execute=True):
            self.assertTrue(services.pay(order.pk))
        self.assertIsNone(get_timer(app).peek(order.timer_id))
        self.assertFalse(services.pay(order.pk))

    def test_a_reminder_posts_the_end_of_the_order_once(self) -> None:
        """A task is a function, too; a second run after a crash keeps the one end."""
        order = self.order()
        for _ in range(2):
            with self.captureOnCommitCallbacks(execute=True):
                remind(order.pk)
        self.assertEqual(get_timer(app).peek(f"cancel-order-{order.pk}").task, "orders.tasks.cancel")
        self.assertEqual(mail.outbox[0].subject, "Please pay")
        cancel(order.pk)
        order.refresh_from_db()
        self.assertEqual(order.state, Order.State.CANCELLED)
