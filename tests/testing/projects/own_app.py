"""With an app that the option dtimer_app names, and without a worker."""

import datetime as dt
import os
import unittest
from pathlib import Path

import freezegun
import pytest
import shop
import time_machine

from celery_dtimer.testing import virtual_timer
from celery_dtimer.testing.servers import embedded_url

seen = []


@shop.app.task(name="shop.look")
def look():
    seen.append(dt.datetime.now(dt.UTC))
    if len(seen) == 1:
        look.apply_async(eta=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))


@pytest.fixture(autouse=True)
def empty():
    shop.sent.clear()
    seen.clear()
    yield
    Path(f"url-{os.getpid()}").write_text(embedded_url())


@pytest.mark.parametrize("order", ["A", "B", "C", "D"])
def test_the_flow_of_a_month(dtimer, order):
    shop.remind.post_in(dt.timedelta(days=30), order)
    assert len(dtimer.pending()) == 1
    dtimer.advance(days=30)
    [escalation] = dtimer.pending()
    fired = dtimer.advance(days=8)
    assert [one.task for one in fired] == ["shop.escalate"] * 2
    assert shop.sent == [f"remind {order}", f"escalate {order}"]
    assert shop.app.AsyncResult(escalation.id).get(timeout=1) == order


@pytest.mark.parametrize("library", [time_machine.travel, freezegun.freeze_time])
def test_the_time_of_the_host_moves_with_it(dtimer, library):
    began = dt.datetime(2031, 5, 1, tzinfo=dt.UTC)
    with library(began, tick=False) as frozen:
        dtimer.move_with(frozen)
        assert dtimer.now == began
        look.post_in(dt.timedelta(days=30))
        dtimer.advance(days=31)
        assert dt.datetime.now(dt.UTC) == began + dt.timedelta(days=31)
    assert seen == [began + dt.timedelta(days=30), began + dt.timedelta(days=30, hours=1)]


class WithoutFixtures(unittest.TestCase):
    def setUp(self):
        self.dtimer = self.enterContext(virtual_timer(shop.app))

    def test_a_reminder_is_posted(self):
        shop.remind.post_in(dt.timedelta(days=30), "A")
        self.dtimer.assert_posted("shop.remind", args=("A",), in_=dt.timedelta(days=30))
        self.dtimer.advance(days=30)
        assert shop.sent == ["remind A"]
